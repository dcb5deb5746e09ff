# What the machine must have, per purpose, and how it gets there. Sourced by ./dev.

declare -A packages=(
  [library]="cmake ninja-build g++ libeigen3-dev zlib1g-dev libpng-dev libjpeg-dev libcurl4-openssl-dev
    nlohmann-json3-dev libdnnl-dev"
  [examples]="libcli11-dev ca-certificates"
  [tests]="libgtest-dev git pkg-config"
  [bench]="libbenchmark-dev"
  [peers]="libtorch-dev libopenblas0-pthread python3"
  [format]="clang-format-14 git"
  [docs]="doxygen"
)
packages[checks]="ccache clang-tidy-14 ${packages[format]} ${packages[docs]}"

declare -A why=(
  [cmake]="configures the build" [ninja-build]="runs the build" [g++]="compiles C++20" [g++-12]="compiles C++20"
  [libeigen3-dev]="CPU kernels" [zlib1g-dev]="reads .gz data files" [libpng-dev]="PNG pictures"
  [libjpeg-dev]="JPEG pictures" [libcurl4-openssl-dev]="--download" [nlohmann-json3-dev]="reads and writes JSON"
  [libdnnl-dev]="faster matrix products and convolutions (optional)"
  [libcli11-dev]="command lines of the examples" [ca-certificates]="--download over https"
  [libgtest-dev]="tests" [git]="lists the sources" [pkg-config]="a test of the installed package"
  [libbenchmark-dev]="benchmarks" [libtorch-dev]="the library that --peers compares with"
  [libopenblas0-pthread]="its matrix products" [python3]="runs the comparison"
  [ccache]="builds the same file once (optional)" [clang-format-14]="checks the format (optional)"
  [clang-tidy-14]="checks changed files (optional)" [doxygen]="API documentation (optional)"
)
# The program a package is wanted for; it may have come from elsewhere. Libraries are asked of dpkg.
declare -A program=(
  [cmake]=cmake [ninja-build]=ninja [g++]=g++ [g++-12]=g++-12 [git]=git [pkg-config]=pkg-config [ccache]=ccache
  [clang-format-14]=clang-format-14 [clang-tidy-14]=clang-tidy-14 [doxygen]=doxygen [python3]=python3
)
newly_installed=""

# The compiler: CXX if set, else g++, which must be 12 or newer (Ubuntu 22.04 has it beside its 11).
if [ -z "${CXX:-}" ]; then
  export CXX=g++
  if command -v g++ >/dev/null && [ "$(g++ -dumpversion | cut -d. -f1)" -lt 12 ]; then
    export CXX=g++-12
    packages[library]=${packages[library]/g++/g++-12}
  fi
fi

is_optional() { [[ "${why[$1]}" == *"(optional)" ]]; }
has() {
  if [ -n "${program[$1]:-}" ]; then
    command -v "${program[$1]}" >/dev/null
  elif command -v dpkg-query >/dev/null; then
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
  fi  # elsewhere CMake says which library it misses
}
missing() {
  local group name
  for group in "$@"; do
    for name in ${packages[$group]}; do has "$name" || echo "$name"; done
  done | sort -u
}

explain() {
  local name
  say "this machine lacks:"
  for name in "$@"; do printf '  %-22s %s\n' "$name" "${why[$name]}" >&2; done
}

# need GROUP...: installs what is missing and says so. Optional packages are tried once per tree and never insisted on.
need() {
  local name required=() optional=() admin=() tried="$root/build/optional-tried"
  for name in $(missing "$@"); do
    if ! is_optional "$name"; then required+=("$name"); elif [ ! -f "$tried" ]; then optional+=("$name"); fi
  done
  [ $((${#required[@]} + ${#optional[@]})) -gt 0 ] || return 0
  explain "${required[@]}" "${optional[@]}"
  command -v apt-get >/dev/null || { [ ${#required[@]} -eq 0 ] || die "please install these with your package manager"; }
  if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null || { [ -t 0 ] && [ ${#required[@]} -gt 0 ] && command -v sudo >/dev/null; }; then
      admin=(sudo)
    elif [ ${#required[@]} -gt 0 ]; then
      die "please run: sudo apt-get update && sudo apt-get install -y ${required[*]} ${optional[*]}"
    else
      return 0
    fi
  fi
  mkdir -p "$root/build" && touch "$tried"
  install_packages
}

# Reads the variables of need. Without network, the packages may still be in apt's cache.
install_packages() {
  local apt=("${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300) wanted=()
  say "installing with apt-get"
  "${apt[@]}" update >&2 || say "the list of packages could not be fetched; trying with the one that is here"
  for name in "${optional[@]}"; do
    if apt-cache show "$name" >/dev/null 2>&1; then wanted+=("$name"); else say "not in this distribution: $name"; fi
  done
  if "${apt[@]}" install -y --no-install-recommends "${required[@]}" "${wanted[@]}" >&2; then
    newly_installed=yes
  elif [ ${#required[@]} -gt 0 ]; then
    die "apt-get failed; please run: sudo apt-get update && sudo apt-get install -y ${required[*]} ${optional[*]}"
  fi
}

report_packages() {
  local group name state bad=0
  for group in library examples tests bench checks peers; do
    for name in ${packages[$group]}; do
      state=yes
      if ! has "$name"; then
        state=missing
        is_optional "$name" || [ "$group" = peers ] || bad=1
      fi
      printf '%-10s %-22s %-8s %s\n' "$group" "$name" "$state" "${why[$name]}"
    done
  done
  return $bad
}
