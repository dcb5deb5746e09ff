#!/usr/bin/env bash
# A chain of a million ops forward, backward and freed, by a program that has a stack of 256 KiB from its start.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
./dev build
ulimit -s 256
build/release/tests/tape_test --gtest_filter='Tape.MillionOpsOnASmallStack' | tee /dev/stderr | grep -q '\[  PASSED  \] 1 test'
printf '{"passed": 1, "stack_kib": %d}\n' "$(ulimit -s)"
