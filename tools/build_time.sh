#!/usr/bin/env bash
# How long a clean release build of the library takes, without a compiler cache. Prints {"seconds": N} on the last line.
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CCACHE_DISABLE=1
cmake -S "$root" -B "$scratch" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENREC_ARCH=native -DTENREC_BUILD_TESTS=OFF \
  -DTENREC_BUILD_BENCH=OFF -DTENREC_BUILD_EXAMPLES=OFF >&2
start=$SECONDS
cmake --build "$scratch" -j 2 >&2
echo "{\"seconds\": $((SECONDS - start))}"
