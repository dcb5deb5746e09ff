#!/usr/bin/env bash
# One training run at 1, 2, 3, 4 and 8 threads, and once more: how many different weights come out?
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
sums=()
for threads in 1 2 3 4 8 2; do
  sums+=("$(./dev run mnist --steps "${1:-938}" --quiet --threads $threads | tail -n 1 |
    sed -nE 's/.*"weights_sha256": *"([0-9a-f]{64})".*/\1/p')")
  [ -n "${sums[-1]}" ] || { echo "no weights_sha256 at $threads threads" >&2; exit 1; }
done
printf '{"runs": %d, "distinct": %d}\n' "${#sums[@]}" "$(printf '%s\n' "${sums[@]}" | sort -u | wc -l)"
