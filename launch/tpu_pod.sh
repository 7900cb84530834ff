#!/usr/bin/env bash
# Trains one agent on all hosts of a TPU pod slice, with one process on each host:
#   launch/tpu_pod.sh NAME ZONE --preset=atari200m --workdir=/mnt/shared/runs/pong
# It needs gcloud here, and on each host the repository in ~/muzero_jax, installed for TPUs
# (BUILD.md), and --workdir on a file system that all hosts share. Started again, the run goes on.
# docs/clusters.md says more.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "error: name the slice, its zone and a run: $0 NAME ZONE --preset=NAME --workdir=DIR" >&2
  exit 2
fi
name=$1 zone=$2
shift 2
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd muzero_jax && exec \
.venv/bin/python -m launch.train --coordinator=auto $(printf '%q ' "$@")"
