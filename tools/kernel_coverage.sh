#!/usr/bin/env bash
# kernel_coverage.sh FILE: FILE holds the names of the kernels that the emulator ran, a line each. Every __global__
# function of the library must be among them.
set -euo pipefail
ran=$1
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
mapfile -t kernels < <(cat kernels/*.cu kernels/cuda/*.cuh |
  perl -0777 -ne 'print "$1\n" while /__global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(/g' | sort -u)
[ ${#kernels[@]} -gt 0 ] || { echo "no kernel was found in the sources"; exit 1; }
missing=0
for kernel in "${kernels[@]}"; do
  grep -qE "(^|[^a-z_0-9])$kernel([^a-z_0-9]|$)" "$ran" || { echo "$kernel has not run on the emulator"; missing=1; }
done
[ $missing -eq 0 ] && echo "${#kernels[@]} kernels have run"
exit $missing
