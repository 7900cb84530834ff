#!/usr/bin/env bash
# Trains one agent with N processes on this machine; on a machine with NVIDIA GPUs each has one, of
# those in CUDA_VISIBLE_DEVICES if that is set, unless JAX_PLATFORMS=cpu:
#   launch/local.sh 2 --preset=catch --workdir=runs/catch --cpu_devices=2
# A signal to this script stops all of them, saved. Its exit code is the first one that is not 0.
# docs/clusters.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo "error: name the number of processes first: $0 N [--flag=value ...]" >&2
  exit 2
fi
count=$1
shift
gpus=()
if command -v nvidia-smi >/dev/null && [ "${JAX_PLATFORMS:-}" != cpu ]; then
  there=$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)
  IFS=, read -ra gpus <<<"${CUDA_VISIBLE_DEVICES-$there}"
  if ((${#gpus[@]} < count)); then
    echo "error: $count processes need a GPU each, and there are ${#gpus[@]}: start fewer" >&2
    exit 2
  fi
fi
port=$(.venv/bin/python -c \
  'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
pids=()
stopped=
# Processes that a script starts in the background ignore Ctrl-C.
trap 'stopped=1; jobs -p | xargs -r kill -TERM 2>/dev/null || true' INT TERM HUP
for ((i = 0; i < count; i++)); do
  [ -z "$stopped" ] || break
  if ((${#gpus[@]})); then export CUDA_VISIBLE_DEVICES=${gpus[i]}; fi
  .venv/bin/python -m launch.train "$@" \
    --coordinator="127.0.0.1:$port" --processes="$count" --process="$i" &
  pids+=($!)
done
result=0
for pid in "${pids[@]}"; do
  code=0
  wait "$pid" || code=$?
  while kill -0 "$pid" 2>/dev/null; do # `wait` returns early at a signal
    code=0
    wait "$pid" || code=$?
  done
  if [ "$result" = 0 ]; then result=$code; fi
done
exit "$result"
