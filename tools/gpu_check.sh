#!/usr/bin/env bash
# gpu_check.sh --out DIR [--parts build,tests,parity,sanitize,kernels,steps,torch] [--limit PART=SECONDS]...
#              [--tools memcheck,racecheck,initcheck,synccheck] [--build-dir DIR]
#
# What a GPU says of Tenrec, on a machine without network: `./dev gpu-check`. The parts run in the order above, each with
# its own time limit; one that fails or runs out of time does not stop the others, and what each found is written as soon
# as it ends. DIR gets report.md, report.json and log.txt. The build folder is kept, and in it what each part last found,
# so a second command with other parts completes the same report.
#
# Needs a shell, CMake, a compiler, the CUDA toolkit and cuDNN; what else is missing comes along in .deps/ (`./dev
# gpu-deps`). Python is used by the part torch alone. Nothing of the card's settings is changed.
#
# TENREC_CUDA=EMULATED checks the script itself, on the emulator: few rows, and times that mean nothing.
set -uo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
all_parts=(build tests parity sanitize kernels steps torch)
skipped=77  # the status of a part that has nothing to do here

say() { printf '%s\n' "$*" >&2; }
die() { say "gpu-check: $*"; exit 2; }
is_emulated() { [ "${TENREC_CUDA:-}" = EMULATED ]; }

# --- JSON and text without a library ---------------------------------------------------------------------------------

json_string() { printf '"%s"' "$(tr -d '\000-\037' <<<"$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
first_line() { sed -n 1p; }
# lines_to_array FILE: JSON lines; one cut off by the end of a program is left out.
lines_to_array() { printf '['; { grep '^{.*}$' "$1" 2>/dev/null || true; } | sed '$!s/$/,/'; printf ']'; }
# field NAME JSON: a number or a word, where the name first stands.
field() { grep -oE "\"$1\": *(\"[^\"]*\"|[^,}]*)" <<<"$2" | first_line | sed -E 's/^"[^"]*": *//; s/^"(.*)"$/\1/'; }

# --- parts -----------------------------------------------------------------------------------------------------------
# Each runs in a process of its own with these in the environment: GC_BUILD (the build folder), GC_STATE (where results
# go), GC_TOOLS, GC_LIMIT (its seconds). It writes NAME.details (one JSON value), NAME.table (text for the report) and
# NAME.summary (one line).

summary() { printf '%s\n' "$*" | tee "$GC_STATE/$GC_PART.summary"; }
left() { echo $((GC_LIMIT > 30 ? GC_LIMIT - 15 : GC_LIMIT)); }  # seconds that a program may take of the part's

nvcc_path() {
  local place
  command -v nvcc && return
  for place in "${CUDA_HOME:-/usr/local/cuda}" /usr/local/cuda /usr/local/cuda-* /opt/cuda \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)"/nvidia/cu1*; do
    if [ -x "$place/bin/nvcc" ]; then echo "$place/bin/nvcc"; return; fi
  done
  return 1
}

# Only what the parts need: the tests that name a device, the two benchmarks and one example.
part_build() {
  local start=$SECONDS preset=cuda options=() generator=() nvcc capability
  if is_emulated; then
    preset=emulated
  else
    nvcc=$(nvcc_path) || { summary "nvcc was not found"; return 1; }
    export CUDACXX=$nvcc
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | first_line | tr -dc 0-9)
    # Another compiler has other warnings; that there are none is for CI to say.
    options+=("-DCMAKE_CUDA_ARCHITECTURES=${capability:-90}" -DTENREC_WERROR=OFF)
  fi
  [ ! -d "$root/.deps" ] || options+=("-DCMAKE_PREFIX_PATH=$root/.deps")
  command -v ninja >/dev/null || generator=(-G "Unix Makefiles")
  (cd "$root" && cmake --preset "$preset" -B "$GC_BUILD" "${generator[@]}" "${options[@]}" -DTENREC_BUILD_TESTS=ON \
    -DTENREC_BUILD_BENCH=ON -DTENREC_BUILD_EXAMPLES=ON) ||
    { summary "cmake could not configure"; return 1; }
  cmake --build "$GC_BUILD" -j "$(nproc)" --target device_tests op_bench train_bench mnist ||
    { summary "the build failed after $((SECONDS - start)) s"; return 1; }
  printf '{"seconds": %d, "jobs": %d, "compiler": %s, "nvcc": %s}\n' $((SECONDS - start)) "$(nproc)" \
    "$(json_string "$("${CXX:-g++}" --version | first_line)")" \
    "$(json_string "$("${CUDACXX:-nvcc}" --version 2>/dev/null | sed -n 's/.*release //p')")" >"$GC_STATE/build.details"
  summary "$((SECONDS - start)) s on $(nproc) cores"
}

# A test that finds no device skips itself and passes, so first: is there one?
sees_device() {
  local said
  said=$("$GC_BUILD/tests/cuda_test" --gtest_filter=CudaTest.TensorsTravelBothWays 2>&1)
  echo "$said"
  [[ "$said" == *"[       OK ] CudaTest.TensorsTravelBothWays"* ]] ||
    { summary "the library finds no device, or cannot copy to it"; return 1; }
}

part_tests() {
  local out="$GC_STATE/tests.txt" failed=0 total=0 names
  sees_device || return 1
  ctest --test-dir "$GC_BUILD" -L device -E '^cuda_parity_test$' -j 4 --timeout "$(left)" --output-on-failure \
    --no-tests=error 2>&1 | tee "$out"
  read -r failed total < <(sed -n 's/.*, \([0-9]*\) tests* failed out of \([0-9]*\)$/\1 \2/p' "$out") || true
  [ "${total:-0}" -gt 0 ] || { summary "ctest ran nothing"; return 1; }
  names=$(sed -nE 's/^[[:space:]]+[0-9]+ - ([^ ]+) \(.*/\1/p' "$out" | sort -u)
  printf '{"passed": %d, "failed": %d, "failed_tests": [%s]}\n' $((total - failed)) "$failed" \
    "$(while read -r name; do [ -z "$name" ] || json_string "$name"; done <<<"$names" | sed 's/""/", "/g')" \
    >"$GC_STATE/tests.details"
  sed -n 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: //p' "$out" >"$GC_STATE/tests.table"
  summary "$((total - failed)) of $total test programs passed on the device${names:+; failed: $(paste -sd' ' <<<"$names")}"
  [ "$failed" -eq 0 ]
}

# Of the lines of TENREC_PARITY_REPORT: the largest errors of an op in a dtype.
parity_rows() {
  grep '^{.*}$' "$1" 2>/dev/null | awk -F'"' '
    function number(text) { gsub(/[:, }]/, "", text); return text }
    { key = $4 "\t" $12; error = number($15); limit = number($17); exact = number($19)
      if (!(key in checks)) { order[++n] = key; worst[key] = 0; bound[key] = limit; f64[key] = "null" }
      checks[key]++
      if (error + 0 > limit + 0) over[key]++
      if (error / limit >= worst[key] / bound[key]) { worst[key] = error + 0; bound[key] = limit + 0; text[key] = error; where[key] = $8 }
      if (exact != "null" && (f64[key] == "null" || exact + 0 > f64[key] + 0)) f64[key] = exact }
    END { for (i = 1; i <= n; i++) { key = order[i]
            print key "\t" checks[key] "\t" over[key] + 0 "\t" text[key] "\t" bound[key] "\t" f64[key] "\t" where[key] } }'
}
part_parity() {
  local lines="$GC_STATE/parity.jsonl" status rows
  rm -f "$lines"
  sees_device || return 1
  TENREC_PARITY_REPORT="$lines" timeout "$(left)" "$GC_BUILD/tests/cuda_parity_test" 2>&1
  status=$?
  rows=$(parity_rows "$lines")
  awk -F'\t' 'BEGIN { printf "[" } NF { printf "%s{\"op\": \"%s\", \"dtype\": \"%s\", \"checks\": %d, \"over\": %d, \"error\": %s, \"limit\": %s, \"error_f64\": %s, \"row\": \"%s\"}", n++ ? ",\n" : "", $1, $2, $3, $4, $5, $6, $7, $8 }
    END { print "]" }' <<<"$rows" >"$GC_STATE/parity.details"
  awk -F'\t' 'BEGIN { printf "%-28s %-5s %6s %10s %10s %12s  %s\n", "op", "dtype", "checks", "error", "limit", "against f64", "row of the error" }
    NF { printf "%-28s %-5s %6d %10s %10s %12s  %s%s\n", $1, $2, $3, $5, $6, $7, $8, $4 ? "  OVER THE LIMIT" : "" }' <<<"$rows" \
    >"$GC_STATE/parity.table"
  summary "$(awk -F'\t' 'NF { checks += $3; over += $4; if ($4) names = names " " $1 }
    END { printf "%d checks of rows in dtypes, %d over their limit%s", checks, over, names }' <<<"$rows")$(
    [ $status -eq 0 ] || echo "; the program ended with status $status$([ $status -ne 124 ] || echo ', out of time')")"
  [ $status -eq 0 ]
}

# compute-sanitizer over the rows of the table, which are small, in several processes at once. Each block of memory is
# asked of CUDA by itself: inside the allocator's segments it would not see an access beyond a block.
part_sanitize() {
  local sanitizer tool tools=() shards seconds bad=0 i pids=() status reached errors text=()
  if is_emulated; then summary "not on the emulator"; return $skipped; fi
  sanitizer=$(PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" command -v compute-sanitizer) ||
    { summary "compute-sanitizer is not here"; return $skipped; }
  sees_device || return 1
  IFS=, read -ra tools <<<"$GC_TOOLS"
  shards=$(($(nproc) < 8 ? $(nproc) : 8))
  seconds=$(($(left) / ${#tools[@]}))
  : >"$GC_STATE/sanitize.jsonl"
  for tool in "${tools[@]}"; do
    pids=() errors=0 status=0
    rm -f "$GC_STATE/sanitize-$tool"-*
    for ((i = 0; i < shards; i++)); do
      TENREC_ALLOC=system TENREC_PARITY_SHARD=$i/$shards TENREC_PARITY_REPORT="$GC_STATE/sanitize-$tool-$i.jsonl" timeout -k 5 "$seconds" \
        "$sanitizer" --tool "$tool" --error-exitcode 99 --print-limit 20 "$GC_BUILD/tests/cuda_parity_test" \
        >"$GC_STATE/sanitize-$tool-$i.txt" 2>&1 &
      pids+=($!)
    done
    for i in "${!pids[@]}"; do
      wait "${pids[$i]}" || { status=$?; say "$tool, process $i: status $status"; }
    done
    cat "$GC_STATE/sanitize-$tool"-*.txt
    errors=$(sed -nE 's/.*(ERROR SUMMARY: |RACECHECK SUMMARY: )([0-9]+) .*/\2/p' "$GC_STATE/sanitize-$tool"-*.txt |
      awk '{ n += $1 } END { print n + 0 }')
    reached=$(cat "$GC_STATE/sanitize-$tool"-*.jsonl 2>/dev/null | grep -c '}$' || true)
    printf '{"tool": "%s", "errors": %d, "checks": %d, "status": %d}\n' "$tool" "$errors" "$reached" $status \
      >>"$GC_STATE/sanitize.jsonl"
    text+=("$tool: $errors errors in $reached checks$([ $status -ne 124 ] || echo ' (out of time)')")
    [ $status -eq 0 ] && [ "$errors" -eq 0 ] || bad=1
    lines_to_array "$GC_STATE/sanitize.jsonl" >"$GC_STATE/sanitize.details"
  done
  { grep -h '^========= \(Invalid\|Error\|Warning\|Potential\|Uninitialized\|Barrier\|Program hit\)' \
    "$GC_STATE"/sanitize-*.txt || true; } | sort | uniq -c | sort -rn | head -n 40 >"$GC_STATE/sanitize.table"
  summary "$(printf '%s; ' "${text[@]}" | sed 's/; $//')"
  return $bad
}

part_kernels() {
  local json="$GC_STATE/kernels.details" status options=(--dtype "f32,bf16" --min-time 0.02 --seconds "$(left)")
  if is_emulated; then options=(--dtype f32 --min-time 0.001 --seconds 20 --filter '^(softmax|sum|matmul).* 64x'); fi
  rm -f "$json"
  "$GC_BUILD/bench/op_bench" --device cuda --json "$json" "${options[@]}" 2>&1 | tee "$GC_STATE/kernels.table"
  status=${PIPESTATUS[0]}
  summary "$(grep -c '"us":' "$json" 2>/dev/null || true) rows timed, $(grep -c '"refused":' "$json" 2>/dev/null ||
    true) refused, $(sed -n 's/.*"not_reached": \([0-9]*\).*/\1/p' "$json" 2>/dev/null) not reached; $(
    grep -m1 '^ceilings:' "$GC_STATE/kernels.table" || echo "no ceilings")"
  return "$status"
}

# loss_difference A B: the largest relative one between the losses of two lines of train_bench.
loss_difference() {
  paste -d' ' <(losses "$1") <(losses "$2") | awk '
    function abs(v) { return v < 0 ? -v : v }
    NF != 2 || $1 == "null" || $2 == "null" { print "inf"; bad = 1; exit }
    { scale = abs($1) > abs($2) ? abs($1) : abs($2); d = scale > 0 ? abs($1 - $2) / scale : 0; if (d > worst) worst = d }
    END { if (!bad) printf "%.2g\n", NR ? worst : "inf" }'
}
losses() { sed -n 's/.*"losses": \[\([^]]*\)\].*/\1/p' <<<"$1" | tr -d ' ' | tr ',' '\n'; }
not_above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "inf" && a + 0 <= b + 0) }'; }

# Losses of 50 steps against the CPU's (f32: 1e-4), of captured steps against eager ones (equal); then times.
part_steps() {
  local program="$GC_BUILD/bench/train_bench" name host eager captured drift worst=0 note bad=0 timing=(--repeats 7 --min-time 0.1)
  local names=(chain xor mlp_b64 mlp_b1 lenet cnn lstm gru vae gpt attention adamw)
  if is_emulated; then names=(chain xor) timing=(--repeats 1 --min-time 0.01); fi
  : >"$GC_STATE/steps.jsonl"
  printf '%-10s %12s %12s %10s  %s\n' workload "eager us" "captured us" "loss error" "" | tee "$GC_STATE/steps.table"
  for name in "${names[@]}"; do
    note="" captured="" drift=inf
    host=$("$program" --workload "$name" --losses --repeats 0) || host=""
    if eager=$("$program" --workload "$name" --device cuda --losses "${timing[@]}"); then
      echo "$eager" >>"$GC_STATE/steps.jsonl"
      drift=$(loss_difference "$host" "$eager")
      worst=$(awk -v a="$worst" -v b="$drift" 'BEGIN { print (b == "inf" || b + 0 > a + 0) ? b : a }')
      not_above "$drift" 1e-4 || { note="losses differ from the CPU's"; bad=1; }
      if captured=$("$program" --workload "$name" --device cuda --capture --losses "${timing[@]}" 2>&1); then
        echo "$captured" >>"$GC_STATE/steps.jsonl"
        [ "$(losses "$captured")" = "$(losses "$eager")" ] || { note+="${note:+; }captured differs from eager"; bad=1; }
      else
        note+="${note:+; }not captured: $(tail -n 1 <<<"$captured")"
        captured=""
      fi
    else
      note="the eager run failed" bad=1
    fi
    printf '%-10s %12s %12s %10s  %s\n' "$name" "$(field us_per_step "$eager")" "$(field us_per_step "$captured")" \
      "$drift" "$note" | tee -a "$GC_STATE/steps.table"
    lines_to_array "$GC_STATE/steps.jsonl" >"$GC_STATE/steps.details"
  done
  is_emulated || run_mnist || bad=1  # its 10,000 test digits take the emulator long
  summary "$(grep -c '"captured": false' "$GC_STATE/steps.jsonl") workloads eager, $(
    grep -c '"captured": true' "$GC_STATE/steps.jsonl") captured; largest error of a loss against the CPU: $worst"
  return $bad
}
# The example on the real digits where they came along, else on those that it draws.
run_mnist() {
  local options=(--device cuda --quiet --steps 500) line
  if [ -f "$root/.deps/data/mnist/train-images-idx3-ubyte.gz" ]; then options+=(--data "$root/.deps/data/mnist"); fi
  if line=$("$GC_BUILD/examples/mnist" "${options[@]}" | tail -n 1); then
    echo "mnist ${options[*]}: $line" | tee -a "$GC_STATE/steps.table"
  else
    echo "the example mnist failed" | tee -a "$GC_STATE/steps.table"
    return 1
  fi
}

part_torch() {
  if is_emulated; then summary "not on the emulator"; return $skipped; fi
  python3 -c 'import torch' 2>/dev/null || { summary "python3 has no torch"; return $skipped; }
  python3 "$root/bench/peers/torch_gpu.py" --ours "$GC_BUILD/bench/train_bench" --json "$GC_STATE/torch.details" \
    --seconds "$(left)" 2>&1 | tee "$GC_STATE/torch.table"
  local status=${PIPESTATUS[0]}
  summary "$(tail -n 1 "$GC_STATE/torch.table")"
  return "$status"
}

# --- running and reporting -------------------------------------------------------------------------------------------

# The part in a process group of its own, so that its limit ends all that it started.
run_part() {
  local part=$1 start=$SECONDS status word
  rm -f "$GC_STATE/$part".{json,details,table,summary}
  say "== $part (at most ${limit[$part]} s)"
  echo "== $part" >>"$log"
  GC_PART=$part GC_LIMIT=${limit[$part]} timeout -k 10 "${limit[$part]}" bash "$root/tools/gpu_check.sh" --run "$part" \
    >>"$log" 2>&1 </dev/null
  status=$?
  case $status in
    0) word=passed ;;
    "$skipped") word=skipped ;;
    124 | 137) word="out of time" ;;
    *) word=failed ;;
  esac
  printf '{"part": "%s", "status": "%s", "seconds": %d, "limit": %d, "date": "%s", "commit": "%s", "summary": %s, "details": %s}\n' \
    "$part" "$word" $((SECONDS - start)) "${limit[$part]}" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$commit" \
    "$(json_string "$(cat "$GC_STATE/$part.summary" 2>/dev/null)")" \
    "$(if [ -s "$GC_STATE/$part.details" ]; then cat "$GC_STATE/$part.details"; else echo null; fi)" \
    >"$GC_STATE/$part.json"
  write_report
  say "$part: $word, $((SECONDS - start)) s; $(cat "$GC_STATE/$part.summary" 2>/dev/null || tail -n 1 "$log")"
  [ "$word" = passed ] || [ "$word" = skipped ]
}

write_report() {
  local part file head separator=""
  {
    printf '{"device": %s, "driver": %s, "emulated": %s, "cores": %d, "parts": [\n' "$(json_string "$device")" \
      "$(json_string "$driver")" "$(is_emulated && echo true || echo false)" "$(nproc)"
    for part in "${all_parts[@]}"; do
      file="$GC_STATE/$part.json"
      [ ! -s "$file" ] || { printf '%s' "$separator"; cat "$file"; separator=","; }
    done
    printf ']}\n'
  } >"$out/report.json"
  {
    printf '# Tenrec on %s\n\n' "$device"
    if is_emulated; then printf 'The emulator: agreement with the CPU means something here, times mean nothing.\n\n'; fi
    printf 'Driver %s, %d processor cores. Written by `./dev gpu-check`; commands and their output are in log.txt.\n\n' \
      "$driver" "$(nproc)"
    printf '| part | result | seconds | limit | when | commit | |\n|---|---|---|---|---|---|---|\n'
    for part in "${all_parts[@]}"; do
      file="$GC_STATE/$part.json"
      [ -s "$file" ] || { printf '| %s | not run | | | | | |\n' "$part"; continue; }
      head=$(first_line <"$file")
      printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$part" "$(field status "$head")" "$(field seconds "$head")" \
        "$(field limit "$head")" "$(field date "$head")" "$(field commit "$head")" \
        "$(tr '|' '/' <"$GC_STATE/$part.summary" 2>/dev/null)"
    done
    for part in "${all_parts[@]}"; do
      [ -s "$GC_STATE/$part.json" ] && [ -s "$GC_STATE/$part.table" ] || continue
      printf '\n## %s\n\n```text\n' "$part"
      cat "$GC_STATE/$part.table"
      printf '```\n'
    done
  } >"$out/report.md"
}

usage() { sed -n '2,/^set /p' "$root/tools/gpu_check.sh" | sed '$d; s/^# \{0,1\}//' >&2; }

if [ "${1:-}" = --run ]; then
  "part_$2"
  exit
fi
out="" parts=("${all_parts[@]}") GC_TOOLS=memcheck GC_BUILD="$root/build/cuda"
if is_emulated; then GC_BUILD="$root/build/emulated"; fi
# Two commands: build, tests, parity; then the rest. All within thirteen minutes.
declare -A limit=([build]=200 [tests]=100 [parity]=80 [sanitize]=90 [kernels]=110 [steps]=60 [torch]=140)
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --out | --parts | --limit | --tools | --build-dir) [ $# -ge 2 ] || die "$1 needs a value" ;;
    *) usage; die "unknown argument '$1'" ;;
  esac
  case $1 in
    --out) out=$2 ;;
    --parts) IFS=, read -ra parts <<<"$2" ;;
    --tools) GC_TOOLS=$2 ;;
    --build-dir) GC_BUILD=$2 ;;
    --limit)
      [[ "$2" =~ ^([a-z]+)=([1-9][0-9]*)$ ]] && [ -n "${limit[${BASH_REMATCH[1]}]:-}" ] || die "--limit: '$2' is not like build=300"
      limit[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]} ;;
  esac
  shift 2
done
[ -n "$out" ] || die "--out DIR is needed"
for part in "${parts[@]}"; do
  [[ " ${all_parts[*]} " == *" $part "* ]] || die "--parts: there is no '$part'; there are ${all_parts[*]}"
done
[[ "$GC_TOOLS" =~ ^(memcheck|racecheck|initcheck|synccheck)(,(memcheck|racecheck|initcheck|synccheck))*$ ]] ||
  die "--tools: '$GC_TOOLS' is not a list of memcheck, racecheck, initcheck, synccheck"
device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | first_line)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | first_line)
if is_emulated; then
  device="Tenrec's CUDA emulator" driver=none
elif [ -z "$device" ] && [ ! -e /dev/nvidiactl ]; then
  die "there is no NVIDIA GPU here; TENREC_CUDA=EMULATED tries the script on the emulator"
fi
device=${device:-"an unknown GPU"} driver=${driver:-unknown}
commit=${TENREC_COMMIT:-$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)}
mkdir -p "$out" "$GC_BUILD" || die "cannot make $out or $GC_BUILD"
out=$(cd -- "$out" && pwd -P) GC_BUILD=$(cd -- "$GC_BUILD" && pwd -P)
GC_STATE="$GC_BUILD/gpu-check"
mkdir -p "$GC_STATE"
log="$out/log.txt"
export GC_STATE GC_BUILD GC_TOOLS
printf 'Tenrec %s on %s, driver %s, %s\n' "$commit" "$device" "$driver" "$(date -u)" >"$log"
nvidia-smi >>"$log" 2>&1 || true
bad=0
for part in "${all_parts[@]}"; do  # in this order, whatever order they were named in
  [[ " ${parts[*]} " == *" $part "* ]] || continue
  run_part "$part" || bad=1
done
say "$out/report.md"
exit $bad
