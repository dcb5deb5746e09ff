# The lanes of `./dev test`. Each runs in a process of its own and ends at the first command that fails; what is counted
# (steps, ctest entries) goes on after a failure. Output is kept in build/logs/LANE.log. Sourced by ./dev.

lanes=(release asan tsan cuda package checks)
full_lanes=(portable asan_full tsan_full tidy_all cuda_all build_time)

# The whole suite; what multiplies matrices runs with each of the three back ends.
lane_release() {
  build_release
  export TENREC_RELIABILITY="$root/build/reliability.jsonl" TENREC_COMMIT
  TENREC_COMMIT=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || true)
  rm -f "$TENREC_RELIABILITY"
  run_ctest release
}

# Where the toolkit's headers are, this build has CUDA too, emulated.
lane_asan() {
  configure debug -DTENREC_CUDA="$(emulated)" -DTENREC_BUILD_EXAMPLES=OFF
  build "$root/build/asan"
  export TENREC_EMULATOR_COVERAGE="$logs/kernels.txt"
  rm -f "$TENREC_EMULATOR_COVERAGE"
  # gemm_test goes through the back ends by itself; the tests of what multiplies run with all of them in asan_full.
  TENREC_TEST_SMALL=1 run_ctest asan -LE slow -E '^(conv_kernel_test\..*|op_cases_test\..*|gemm_no_onednn_test)$'
  # Without the cache each block is an object of its own, so a leaked tensor is found, and an access beyond its end.
  # Every fourth row of the parity test: the whole takes minutes, and asan_full has the time.
  TENREC_ALLOC=system TENREC_TEST_SMALL=1 TENREC_PARITY_SHARD=0/4 run_ctest asan -R '^(tape|module|optim|cuda|cuda_parity)_test$'
  [ "$(emulated)" = OFF ] || step kernel_coverage "$root/tools/kernel_coverage.sh" "$TENREC_EMULATOR_COVERAGE"
}
emulated() { [ -e "${CUDA_HOME:-/usr/local/cuda}/include/cuda_bf16.h" ] && echo EMULATED || echo OFF; }

lane_tsan() {
  configure tsan
  build "$root/build/tsan" threads_tests
  TENREC_TEST_SMALL=1 run_ctest tsan -L threads
}

# The package as others use it: installed, static and shared, and as a subdirectory. The settings are those of the
# release, so that ccache compiles little again; but the subdirectory takes the defaults, and with them the packages'
# instruction set.
lane_package() {
  local built="$root/build/package"
  build_release
  rm -rf "$built"
  step install_static cmake --install "$release" --prefix "$built/static"
  step find_package consume find_package "$built/static"
  step find_package_eigen consume find_package_eigen "$built/static"
  step pkg_config consume_pkg_config "$built/static"
  step install_shared install_shared "$built/shared"
  step shared consume shared "$built/shared"
  step add_subdirectory consume add_subdirectory "" -DTENREC_WERROR=ON
}

# The library for real devices: it compiles without a warning, and where there is no driver it says so and goes on.
lane_cuda() {
  cuda_build cuda
}
lane_cuda_all() {
  cuda_build cuda_all -DCMAKE_CUDA_ARCHITECTURES="80;90"
}
# cuda_build DIR [-D...]
cuda_build() {
  CUDACXX=$(find_nvcc) || { echo "skipped: no nvcc"; return; }
  export CUDACXX
  configure cuda -B "$root/build/$1" -DTENREC_BUILD_TESTS=OFF -DTENREC_BUILD_BENCH=OFF -DTENREC_BUILD_EXAMPLES=ON "${@:2}"
  build "$root/build/$1" mnist
  [ -e /dev/nvidiactl ] || step no_driver runs_without_driver "$root/build/$1/examples/mnist"
}
runs_without_driver() {
  "$1" --steps 2 --train-size 200 --quiet
  ! "$1" --device cuda --steps 2 2>"$logs/no_driver.txt" && grep -q "no device cuda:0" "$logs/no_driver.txt"
}

lane_checks() {
  build_release
  step format check_format
  step layers "$root/tools/check_layers.sh"
  step tidy tidy changed
  step budgets "$root/tools/budgets.sh" "$release"
  step snippets "$root/tools/snippets.sh" "$release"
  step docs check_docs
  step gpu_check "$root/tools/gpu_check_test.sh"
  step find_cudnn "$root/tools/find_cudnn_test.sh"
}

# The instruction set of the packages in place of this machine's.
lane_portable() {
  configure release -B "$root/build/portable" -DTENREC_ARCH=x86-64-v3 -DTENREC_BUILD_BENCH=OFF
  build "$root/build/portable"
  run_ctest portable
}

lane_asan_full() {
  configure debug -DTENREC_CUDA="$(emulated)" -DTENREC_BUILD_EXAMPLES=ON
  build "$root/build/asan"
  run_ctest asan
  TENREC_ALLOC=system TENREC_TEST_SMALL=1 run_ctest asan -R '^(tape|module|optim|cuda|cuda_parity)_test$'
}

lane_tsan_full() {
  configure tsan -DTENREC_CUDA="$(emulated)"
  build "$root/build/tsan"
  # Every fourth row of the parity test: the whole takes half an hour here, and its values are asan_full's to prove.
  TENREC_TEST_SMALL=1 TENREC_PARITY_SHARD=0/4 run_ctest tsan -LE slow
}

lane_tidy_all() {
  build_release
  step tidy_all tidy all
}

lane_build_time() {
  step build_time within_five_minutes
}
within_five_minutes() {
  local result
  result=$("$root/tools/build_time.sh" | tail -n 1)
  echo "$result"
  [ "$(tr -dc '0-9' <<<"$result")" -le 300 ]
}

run_lanes() {
  local lane start failed status summary=()
  mkdir -p "$logs"
  : >"$logs/counts"
  for lane in "$@"; do
    echo "== lane $lane"
    start=$SECONDS failed=$(counted 2) status=PASS
    if ! "$root/dev" _ "lane_$lane" 2>&1 | tee "$logs/$lane.log"; then
      status=FAIL
      count 0 1  # it could not even build
    elif [ "$(counted 2)" -gt "$failed" ]; then
      status=FAIL
    fi
    summary+=("lane $lane: $status $(awk -v s=$((SECONDS - start)) 'BEGIN { printf "%.1f", s / 60 }') min")
    echo "${summary[-1]}"
  done
  printf '%s\n' "" "${summary[@]}" "$(counted 1) passed, $(counted 2) failed"
  [ "$(counted 2)" -eq 0 ]
}

count() { echo "$1 $2" >>"$logs/counts"; }
counted() { awk -v column="$1" '{ n += $column } END { print n + 0 }' "$logs/counts"; }

# step NAME COMMAND...: one counted check.
step() {
  local start=$SECONDS
  if "$root/dev" _ "${@:2}"; then
    count 1 0
    echo "PASS $1 ($((SECONDS - start)) s)"
  else
    count 0 1
    echo "FAIL $1 ($((SECONDS - start)) s)"
  fi
}

# run_ctest DIR [ARGS...]
run_ctest() {
  local out="$logs/ctest-$1.txt" failed total launch=()
  # TSan cannot place its shadow when the kernel spreads addresses widely.
  if [ "$1" = tsan ] && setarch -R true 2>/dev/null; then launch=(setarch -R); fi
  # A size beyond its limit is an allocation that fails, as without it, and not a report.
  ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1 \
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1 \
    "${launch[@]}" ctest --test-dir "$root/build/$1" -j "$(jobs)" --output-on-failure --no-tests=error "${@:2}" |
    tee "$out" || true
  if read -r failed total < <(sed -n 's/.*, \([0-9]*\) tests* failed out of \([0-9]*\)$/\1 \2/p' "$out"); then
    count $((total - failed)) "$failed"
  else
    count 0 1
  fi
}

# consume NAME PREFIX [-D...]: configures, builds and runs a program of tests/package.
consume() {
  local dir="$root/build/package/$1"
  CMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true) cmake -S "$root/tests/package/$1" -B "$dir" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$2" "${@:3}" >"$logs/consume-$1.txt" 2>&1 ||
    { cat "$logs/consume-$1.txt"; return 1; }
  build "$dir"
  "$dir/consumer"
}
consume_pkg_config() {
  local dir="$root/build/package/pkg_config" flags=()
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$(find "$1" -name tenrec.pc)")
  eval "flags=($(pkg-config --static --cflags --libs tenrec))"  # quoted for a shell
  mkdir -p "$dir"
  "$CXX" -std=c++20 "$root/tests/package/find_package/main.cpp" -o "$dir/consumer" "${flags[@]}"
  "$dir/consumer"
}
install_shared() {
  configure release -B "$root/build/shared" -DBUILD_SHARED_LIBS=ON -DTENREC_BUILD_TESTS=OFF -DTENREC_BUILD_BENCH=OFF \
    -DTENREC_BUILD_EXAMPLES=OFF
  build "$root/build/shared"
  cmake --install "$root/build/shared" --prefix "$1"
}

check_format() {
  if command -v clang-format-14 >/dev/null; then cmd_format --check; else echo "skipped: no clang-format-14"; fi
}
check_docs() {
  if command -v doxygen >/dev/null; then cmd_docs; else echo "skipped: no doxygen"; fi
}

# tidy all|changed: what differs from the branch this one started from, or from the last commit but one.
tidy() {
  local base files=()
  command -v clang-tidy-14 >/dev/null || { echo "skipped: no clang-tidy-14"; return; }
  cd "$root"
  if [ "$1" = all ]; then
    mapfile -t files < <(sources | grep '\.cpp$')
  else
    base=$(git merge-base HEAD origin/HEAD 2>/dev/null) || base=HEAD
    [ "$(git rev-parse "$base")" != "$(git rev-parse HEAD)" ] || base=HEAD~1
    git rev-parse -q --verify "$base" >/dev/null || { echo "skipped: no earlier commit to compare with"; return; }
    mapfile -t files < <({ git diff --name-only --diff-filter=d "$base"; git ls-files -o --exclude-standard; } |
      grep '\.cpp$' | sort -u)
  fi
  # What this build compiles; the rest (peers, consumers, CUDA) are projects or settings of their own.
  mapfile -t files < <(comm -12 <(printf '%s\n' "${files[@]}" | sort -u) \
    <(sed -n "s|^ *\"file\": \"$root/\(.*\)\",*\$|\1|p" "$release/compile_commands.json" | sort -u))
  echo "${#files[@]} files"
  [ ${#files[@]} -eq 0 ] || printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P "$(jobs)" clang-tidy-14 -p "$release" --quiet --warnings-as-errors='*' \
      --extra-arg=-Wno-unknown-warning-option
}
