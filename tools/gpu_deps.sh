#!/usr/bin/env bash
# gpu_deps.sh [DIR]: `./dev gpu-deps`. Fills the ignored folder .deps/ (or DIR) with what a machine with a GPU, but without
# network or Debian's packages, lacks for building Tenrec, its tests and benchmarks: headers, static libraries, CMake's
# package files, and MNIST as it is packed. Copied from the packages installed here, in their layout, so CMake finds them
# by CMAKE_PREFIX_PATH; tools/gpu_check.sh does that. At most 50 MiB.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
deps=${1:-$root/.deps}
budget=$((50 << 20))
packages=(libeigen3-dev nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev libbenchmark-dev libbenchmark1
  libbenchmark1debian zlib1g-dev libpng-dev libjpeg62-turbo-dev libjpeg-turbo8-dev)
# One file of each that must be there in the end.
wanted=(include/eigen3/Eigen/Core include/nlohmann/json.hpp include/CLI/CLI.hpp include/gtest/gtest.h include/benchmark/benchmark.h
  include/zlib.h include/png.h include/jpeglib.h include/jconfig.h)

die() { printf 'gpu-deps: %s\n' "$*" >&2; exit 1; }
command -v dpkg-query >/dev/null || die "the packages are copied from a Debian or Ubuntu: there is no dpkg here"
rm -rf "$deps.new"
mkdir -p "$deps.new"

# What of a package is taken; benchmark comes as a shared library alone.
files_of() {
  dpkg-query -L "$1" 2>/dev/null | grep -E '^/usr/(include/|share/eigen3/cmake/|share/cmake/|lib/[^/]*/cmake/|lib/[^/]*/lib(benchmark[^/]*\.so.*|[^/]*\.a)$)' |
    grep -vE '/unsupported/|/pkgconfig/' || true
}
for package in "${packages[@]}"; do
  while read -r file; do
    if [ ! -f "$file" ]; then continue; fi
    target="$deps.new/$(sed -E 's|^/usr/||; s|^include/[^/]*-linux-gnu/|include/|' <<<"$file")"  # no compiler looks there
    mkdir -p "$(dirname -- "$target")"
    cp -L -- "$file" "$target"  # no links: they may not travel
  done < <(files_of "$package")
done
for file in "${wanted[@]}"; do
  [ -e "$deps.new/$file" ] || [ -n "$(find "$deps.new/include" -path "*/${file#include/}" -print -quit)" ] ||
    die "$file was not found; the packages are installed by ./dev build"
done
find "$deps.new" -name '*.a' -exec strip --strip-debug {} +

data=""
for place in "${TENREC_DATA_DIR:-}" "$root/../shared/data"; do
  if [ -z "$data" ] && [ -n "$place" ] && [ -f "$place/mnist/train-images-idx3-ubyte.gz" ]; then data=$place; fi
done
if [ -n "$data" ]; then
  mkdir -p "$deps.new/data/mnist"
  cp -L -- "$data"/mnist/*-ubyte.gz "$deps.new/data/mnist/"
else
  printf 'gpu-deps: no MNIST: set TENREC_DATA_DIR to a folder that holds mnist/\n' >&2
fi
chmod -R u+w "$deps.new"

bytes=$(du -sb "$deps.new" | cut -f1)
[ "$bytes" -le $budget ] || die "$((bytes >> 20)) MiB are more than the $((budget >> 20)) MiB allowed; see $deps.new"
rm -rf "$deps"
mv -- "$deps.new" "$deps"
printf '%s: %d files, %.1f MiB\n' "$deps" "$(find "$deps" -type f | wc -l)" "$(awk -v b="$bytes" 'BEGIN { print b / 1048576 }')"
