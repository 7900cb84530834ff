#!/usr/bin/env bash
# Installs into .venv and runs the checks and tests. Further arguments go to pytest:
#   launch/test.sh -k replay
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt requirements-test.txt
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
exec .venv/bin/python -m pytest -q -n 2 --dist loadfile "$@"
