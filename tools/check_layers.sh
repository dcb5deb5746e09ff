#!/usr/bin/env bash
# The house rules that a grep can check: includes point downward, public headers stay light, files stay short, the
# library never ends the process. check_layers.sh [ROOT]
set -eu
cd -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/..}"
# report RULE: prints the lines of stdin, if any, under the rule they break.
report() {
  local lines
  lines=$(cat)
  [ -z "$lines" ] || printf '%s:\n%s\n' "$1" "$lines"
}
# in_files PATTERN FILE...: like grep, but silent when there is nothing to search.
in_files() { [ $# -lt 2 ] || grep -nHE -- "$@" || true; }

declare -A allowed=(
  [core]="core" [kernels]="core|kernels" [autograd]="core|kernels|autograd" [nn]="core|kernels|autograd|nn"
  [optim]="core|kernels|autograd|nn|optim" [data]="core|kernels|autograd|data"
)
mapfile -t library < <(find core kernels autograd nn optim data -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | sort)
mapfile -t public < <(printf '%s\n' "${library[@]}" $(ls tenrec.h 2>/dev/null) | grep '\.h$' | grep -vE '_impl\.h$|/cuda/')
mapfile -t users < <(find tests bench examples -name '*.h' -o -name '*.cpp' | sort)

rules() {
  for layer in "${!allowed[@]}"; do
    mapfile -t files < <(printf '%s\n' "${library[@]}" | grep "^$layer/")
    in_files '#include "tenrec/' "${files[@]}" | grep -vE "\"tenrec/(${allowed[$layer]})/" |
      report "$layer may include only ${allowed[$layer]//|/, }"
  done
  in_files '#include "' "${library[@]}" | grep -vE '"tenrec/|^(kernels/cuda/kernel\.h|core/cuda/runtime\.cpp):.*"emulator/runtime\.h"' |
    report 'headers are named from the root: "tenrec/core/error.h"'
  in_files '#include <' "${public[@]}" | grep -vE '<(immintrin\.h|[a-z_]+)>' |
    report "a public header includes no third-party header (name it NAME_impl.h if it must)"
  in_files '#include <(filesystem|thread|map|iostream|regex|chrono)>' "${public[@]}" |
    report "a public header includes none of the heavy standard ones"
  in_files '#include "tenrec/.*_impl\.h"' "${public[@]}" "${users[@]}" |
    report "NAME_impl.h is for the library's own sources"
  local ending='(^|[^_[:alnum:].:])(std::)?(abort|exit|_exit|quick_exit|terminate|assert|system|popen|dlopen) ?\('
  in_files "$ending" "${library[@]}" |
    grep -vE ':[0-9]+: *//' | report "the library throws; it does not end the process or run another"
  wc -l -- "${library[@]}" "${users[@]}" 2>/dev/null | awk '$1 > 800 && $2 != "total"' |
    report "a file has at most 800 lines"
}

broken=$(rules)
[ -z "$broken" ] || { printf '%s\n' "$broken"; exit 1; }
echo "${#library[@]} library files, ${#public[@]} public headers: in order"
