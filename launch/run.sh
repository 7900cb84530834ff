#!/usr/bin/env bash
# Leads from a fresh clone to agents that play: installs the requirements into .venv, trains on
# Catch (two minutes) and then on Atari Pong (nine minutes), both with a tree search, and ends each
# with an evaluation, a curve and a video. When started again, it resumes from the last checkpoint.
# With flags, which are passed on to launch.train, it trains on Pong only:
#   launch/run.sh --env_steps=2000000 --workdir=runs/longer --seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/setup.sh
install requirements.txt
if [ $# = 0 ]; then
  .venv/bin/python -m launch.train --preset=catch --video --workdir=runs/catch
fi
exec .venv/bin/python -m launch.train --preset=quickstart --workdir=runs/quickstart "$@"
