#!/usr/bin/env bash
# From a bare clone to an agent that plays Atari Pong: installs into .venv, trains the quick-start preset, evaluates, records a video.
# Run again, it goes on from its last checkpoint. Further flags are passed on:
#   launch/run.sh --env_steps=2000000 --workdir=runs/longer --seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt
exec .venv/bin/python -m launch.train --preset=quickstart --workdir=runs/quickstart "$@"
