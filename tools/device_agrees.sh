#!/usr/bin/env bash
# The same 20 steps of mnist on the CPU, on the emulated device, and there as a captured step: how far apart are the
# losses, and are the captured weights those of the eager run, bit for bit?
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
export TENREC_CUDA=EMULATED
worst=0 equal=1
for model in ${1:-mlp cnn}; do
  report() { ./dev run mnist --model "$model" --steps 20 --train-size 2560 --quiet "$@" | tail -n 1; }
  field() { sed -nE "s/.*\"$2\": *\"?([^\",}]*).*/\1/p" <<<"$1"; }
  cpu=$(report) eager=$(report --device cuda) captured=$(report --device cuda --capture)
  worst=$(awk -v a="$(field "$cpu" train_loss)" -v b="$(field "$eager" train_loss)" -v w="$worst" \
    'BEGIN { d = (a > b ? a - b : b - a) / a; print (d > w ? d : w) }')
  [ "$(field "$eager" weights_sha256)" = "$(field "$captured" weights_sha256)" ] || equal=0
  [ "$(field "$captured" captured)" = true ] || equal=0
done
printf '{"steps": 20, "relative": %s, "captured_equal": %d}\n' "$worst" "$equal"
