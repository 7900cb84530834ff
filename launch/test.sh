#!/usr/bin/env bash
# Installs the requirements into .venv, then runs the linter, the type checker and the tests. The
# tests marked as long, of learning and of whole commands, run only if the first argument is --all.
# With --targets only those run that compile for GPUs and TPUs; it installs their compilers, which
# take about 1 GB; --targets=tpu does so for TPUs only. If a compiler cannot be installed, its tests
# are skipped. Further arguments are passed on to pytest:
#   launch/test.sh -k replay
#   launch/test.sh --all --durations=15
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt requirements-test.txt
compiler() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" ||
    echo "${1%%==*} cannot be installed; tests that need this compiler are skipped" >&2
}
if [ "${1:-}" = --targets ] || [ "${1:-}" = --targets=tpu ]; then
  targets=$1
  shift
  version=$(.venv/bin/python -c 'import jaxlib; print(jaxlib.__version__)')
  compiler "jax[tpu]==$version"
  if [ "$targets" = --targets ]; then
    compiler "jax-cuda12-plugin==$version" "jax-cuda12-pjrt==$version" nvidia-cuda-nvcc-cu12 --no-deps
  fi
  JAX_PLATFORMS=cpu exec .venv/bin/python -m pytest -q -m targets "$@"
fi
tier=(-m "not long")
if [ "${1:-}" = --all ]; then
  tier=()
  shift
fi
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
.venv/bin/pyright --pythonpath .venv/bin/python
exec .venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "${tier[@]}" "$@"
