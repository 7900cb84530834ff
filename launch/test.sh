#!/usr/bin/env bash
# Installs into .venv, checks and tests. Without --all: linter, types, and the short tests (units, and a few
# whole runs). With it: tests of learning and of whole commands, too. Further arguments go to pytest:
#   launch/test.sh -k replay
#   launch/test.sh --all --durations=15
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt requirements-test.txt
tier=(-m "not long")
if [ "${1:-}" = --all ]; then
  tier=()
  shift
fi
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
.venv/bin/pyright --pythonpath .venv/bin/python
exec .venv/bin/python -m pytest -q -n 2 --dist loadfile "${tier[@]}" "$@"
