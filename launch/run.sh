#!/usr/bin/env bash
# Leads from a fresh clone to an agent that plays Atari Pong: installs the requirements into .venv,
# trains with the quickstart preset, evaluates the agent and records a video. When started again, it
# resumes from the last checkpoint. Flags are passed on to launch.train:
#   launch/run.sh --env_steps=2000000 --workdir=runs/longer --seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt
exec .venv/bin/python -m launch.train --preset=quickstart --workdir=runs/quickstart "$@"
