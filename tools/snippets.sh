#!/usr/bin/env bash
# Compiles every ```cpp block of the documentation against a release build, and runs those that are whole programs.
# snippets.sh RELEASE_BUILD_FOLDER
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
build=${1:-$root/build/release}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root"

# One file per block, named after page and line; a block that is not a program becomes the body of a function.
awk -v dir="$scratch" '
  /^```cpp$/ { page = FILENAME; gsub("[/.]", "_", page); file = dir "/" page "_" FNR ".cpp"; next }
  /^```$/ && file { close(file); file = ""; next }
  file { print > file }' README.md CONTRIBUTING.md docs/*.md autograd/README.md kernels/README.md
read -r -a libraries < <(PKG_CONFIG_PATH="$build" pkg-config --static --libs-only-l tenrec)
count=0 bad=0
for file in "$scratch"/*.cpp; do
  [ -e "$file" ] || break
  count=$((count + 1))
  name=$(basename "$file" .cpp)
  if ! grep -q 'int main(' "$file"; then
    { grep '^#include' "$file" || true; printf '#include "tenrec/tenrec.h"\nusing namespace tenrec;\nvoid snippet() {\n'
      grep -v '^#include' "$file"; printf '}\nint main() {}\n'; } >"$file.body" && mv "$file.body" "$file"
  fi
  if "${CXX:-g++}" -std=c++20 -O1 -Wall -Wno-unused -I"$build/include" "$file" -o "$scratch/$name" -L"$build" \
    "${libraries[@]}" && (cd "$scratch" && TENREC_TEST_SMALL=1 timeout 120 "./$name" >"$name.out" 2>&1); then
    echo "$name: compiled$(grep -q '^void snippet' "$file" || echo ' and run')"
  else
    echo "$name: FAILED"
    cat "$scratch/$name.out" 2>/dev/null || true
    bad=1
  fi
done
echo "$count snippets"
exit $bad
