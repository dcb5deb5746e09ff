#!/usr/bin/env bash
# Small is a feature: what a program pays in compile time, header lines and bytes. budgets.sh RELEASE_BUILD_FOLDER
# prints each figure beside its limit and fails above it. The programs stand in tests/budget/.
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
build=${1:-$root/build/release}
cxx=${CXX:-g++}
program="$root/tests/budget/train.cpp"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0
# figure WHAT VALUE LIMIT UNIT
figure() {
  local verdict=ok
  awk -v a="$2" -v b="$3" 'BEGIN { exit !(a > b) }' && { verdict="TOO MUCH"; bad=1; }
  printf '%-52s %10s of %s %s: %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

# Processor time, best of three: what the compiler does, not what else the machine does.
TIMEFORMAT='%U %S'
compile() { "$cxx" -std=c++20 -O2 -I"$build/include" -c "$program" -o "$scratch/program.o"; }
compile
seconds=$(for _ in 1 2 3; do { time compile; } 2>&1; done | awk '{ print $1 + $2 }' | sort -n | head -n 1)
figure "compile a training program of $(wc -l <"$program") lines, -O2" "$seconds" 2.5 s

"$cxx" -std=c++20 -E -P -I"$build/include" -include tenrec/tenrec.h -x c++ /dev/null -o "$scratch/umbrella.ii"
figure "umbrella header, preprocessed" "$(wc -l <"$scratch/umbrella.ii")" 60000 lines
"$cxx" -std=c++20 -M -I"$build/include" -include tenrec/tenrec.h -x c++ /dev/null | tr ' ' '\n' |
  grep -E '^/' | grep -vE "^($(realpath "$build")|$build)/include/tenrec/|/c\+\+/|/lib/gcc/|^/dev/null" |
  grep -E 'eigen|dnnl|nlohmann|png|jpeg|zlib|zconf|curl|omp\.h|CLI|gtest' >"$scratch/foreign" || true
figure "third-party headers in it" "$(wc -l <"$scratch/foreign")" 0 files
sed 's/^/  /' "$scratch/foreign"

# As a user would link it for size: static, without oneDNN, whose one file is compiled once more without it.
"$cxx" -std=c++20 -O2 -I"$build/include" -DEigen=tenrec_eigen $(pkg-config --cflags eigen3 2>/dev/null ||
  echo -I/usr/include/eigen3) -c "$root/kernels/onednn.cpp" -o "$scratch/no_onednn.o"
"$cxx" -s -static-libstdc++ -Wl,--gc-sections "$scratch/program.o" "$scratch/no_onednn.o" "$build/libtenrec.a" \
  -ljpeg -lpng -lz -lcurl -pthread -o "$scratch/program"
if ldd "$scratch/program" | grep dnnl; then bad=1; fi
figure "MNIST CNN program, static, stripped" "$(awk -v b="$(stat -c %s "$scratch/program")" \
  'BEGIN { printf "%.2f", b / 1048576 }')" 5 MB
TENREC_TEST_SMALL=1 "$scratch/program" || { echo "the program does not run"; bad=1; }
exit $bad
