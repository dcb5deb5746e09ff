#!/usr/bin/env bash
# Tests gpu_check.sh without a GPU and without a build: programs that only print stand in for what it starts. Order,
# limits, failures that do not stop the rest, results kept for a second command, and both reports.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
build="$scratch/build" out="$scratch/out" fakes="$scratch/fakes"
mkdir -p "$build"/{tests,bench,examples} "$fakes" "$out"
unset TENREC_CUDA TENREC_COMMIT
bad=0

expect() {  # expect WHAT COMMAND...
  if ! "${@:2}" >"$scratch/expect" 2>&1; then echo "FAIL: $1"; sed 's/^/  /' "$scratch/expect"; bad=1; fi
}
program() { cat >"$1"; chmod +x "$1"; }  # program FILE <<< script
check() { PATH="$fakes:$PATH" "$root/tools/gpu_check.sh" --build-dir "$build" "$@" 2>"$scratch/said"; }
valid_json() { if command -v python3 >/dev/null; then python3 -m json.tool "$1"; fi; }

if [ ! -e /dev/nvidiactl ] && ! command -v nvidia-smi >/dev/null; then
  status=0
  check --out "$out" || status=$?
  expect "without a GPU: a status that is not 0" test $status -eq 2
  expect "without a GPU: one line" test "$(wc -l <"$scratch/said")" -eq 1
fi

program "$fakes/nvidia-smi" <<'TEXT'
#!/bin/sh
case "$*" in *gpu=name*) echo 'Fake "GPU" | 1' ;; *driver*) echo 1.2 ;; *compute_cap*) echo 9.0 ;; esac
TEXT
program "$fakes/nvcc" <<<'#!/bin/sh
echo "Cuda compilation tools, release 13.0"'
program "$fakes/cmake" <<<'#!/bin/sh
echo "cmake $*"'
program "$fakes/ctest" <<'TEXT'
#!/bin/sh
echo "1/2 Test #1: cuda_test ........   Passed    0.1 sec"
echo "50% tests passed, 1 tests failed out of 2"
echo "The following tests FAILED:"
echo "	  2 - module_test (Failed)"
TEXT
program "$fakes/compute-sanitizer" <<'TEXT'
#!/bin/sh
echo "========= Invalid __global__ write of size 4 bytes"
echo "========= ERROR SUMMARY: 1 error"
exit 99
TEXT
program "$fakes/python3" <<<'#!/bin/sh
exit 1'
program "$build/tests/cuda_test" <<<'#!/bin/sh
echo "[       OK ] CudaTest.TensorsTravelBothWays (1 ms)"'
program "$build/tests/cuda_parity_test" <<'TEXT'
#!/bin/sh
cat >"$TENREC_PARITY_REPORT" <<LINES
{"op": "add", "variant": "plain", "dtype": "f32", "error": 1e-07, "limit": 8e-06, "error_f64": 2e-07}
{"op": "add", "variant": "wide, long", "dtype": "f32", "error": 3e-07, "limit": 8e-06, "error_f64": null}
{"op": "exp", "variant": "", "dtype": "bf16", "error": 1e999, "limit": 4e-02, "error_f64": 0.01}
{"op": "cut off
LINES
[ -z "${HANG:-}" ] || sleep 60
TEXT
program "$build/bench/op_bench" <<'TEXT'
#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = --json ] && file=$2; shift; done
echo "ceilings: copy 1 GB/s"
printf '{"rows": [\n{"op": "add",\n"us": 1},\n{"refused": "WRONG"}],\n"not_reached": 3}\n' >"$file"
exit 1
TEXT
program "$build/bench/train_bench" <<'TEXT'
#!/bin/sh
loss=0.5 captured=false
case "$*" in
  *--capture*lenet* | *lenet*--capture*) echo "there are no captured steps" >&2; exit 1 ;;
  *xor*cuda*) loss=0.6 ;;
esac
case "$*" in *--capture*) captured=true ;; esac
echo "{\"workload\": \"w\", \"captured\": $captured, \"us_per_step\": 12.5, \"losses\": [1, $loss]}"
TEXT
program "$build/examples/mnist" <<<'#!/bin/sh
echo "{\"test_accuracy\": 99}"'

status=0
check --out "$out" --parts tests,parity,build || status=$?
expect "a failed test is a status of 1" test $status -eq 1
expect "the parts come in order" test "$(grep -o '^== [a-z]*' "$scratch/said" | tr -d '\n')" = "== build== tests== parity"
expect "report.json is JSON" valid_json "$out/report.json"
expect "the failed test is named" grep -q '"failed_tests": \["module_test"\]' "$out/report.json"
expect "the largest errors" grep -q '"op": "add", "dtype": "f32", "checks": 2, "over": 0, "error": 3e-07, "limit": 8e-06, "error_f64": 2e-07, "row": "wide, long"' \
  "$out/report.json"
expect "an infinite error is over" grep -Eq '^exp +bf16 .*OVER THE LIMIT' "$out/report.md"
expect "the device's name is quoted" grep -qF '"device": "Fake \"GPU\" | 1"' "$out/report.json"
expect "what has not run" grep -q '| torch | not run |' "$out/report.md"

rm -rf "$out"
status=0
check --out "$out" --parts sanitize,kernels,steps,torch || status=$?
expect "the second command keeps what the first found" grep -q '| parity | passed |' "$out/report.md"
expect "a finding of compute-sanitizer fails" grep -q '| sanitize | failed |.*errors' "$out/report.md"
expect "a refused row fails" grep -q '| kernels | failed |.* 1 rows timed, 1 refused, 3 not reached' "$out/report.md"
expect "the failure did not stop the rest" grep -q '| steps | failed |.*12 workloads eager, 11 captured; .* CPU: 0.17' "$out/report.md"
expect "differing losses are seen" grep -Eq '^xor .* losses differ' "$out/report.md"
expect "what cannot be captured is said" grep -Eq '^lenet .*not captured: there are no captured steps' "$out/report.md"
expect "no torch is no failure" grep -q '| torch | skipped |' "$out/report.md"
expect "report.json is JSON" valid_json "$out/report.json"
expect "three files" test "$(find "$out" -type f | wc -l)" -eq 3

status=0
HANG=1 check --out "$out" --parts parity --limit parity=2 || status=$?
expect "a part that hangs is ended" grep -q '| parity | out of time |' "$out/report.md"
expect "and fails" test $status -eq 1
expect "a part that does not exist" bash -c '! "$0" --out "$1" --parts nothing' "$root/tools/gpu_check.sh" "$out"
[ $bad -eq 0 ] && echo "gpu_check.sh does what it should"
exit $bad
