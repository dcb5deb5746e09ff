#!/usr/bin/env bash
# cmake/FindCUDNN.cmake finds a cuDNN that pip put into Python's site-packages: once through the python3 on the PATH, once
# in a virtual environment that is merely active. The folders hold empty files.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/CMakeLists.txt" <<TEXT
cmake_minimum_required(VERSION 3.22)
project(find_cudnn NONE)
set(CMAKE_FIND_LIBRARY_PREFIXES lib)
set(CMAKE_FIND_LIBRARY_SUFFIXES .so .a)
list(APPEND CMAKE_MODULE_PATH "$root/cmake")
find_package(CUDNN 9 REQUIRED)
get_target_property(library CUDNN::cudnn IMPORTED_LOCATION)
get_target_property(headers CUDNN::cudnn INTERFACE_INCLUDE_DIRECTORIES)
message(STATUS "found \${library} \${headers} \${CUDNN_VERSION}")
TEXT

plant() {  # plant SITE_PACKAGES VERSION
  mkdir -p "$1/nvidia/cudnn/include" "$1/nvidia/cudnn/lib"
  touch "$1/nvidia/cudnn/include/cudnn.h" "$1/nvidia/cudnn/lib/libcudnn.so.9"  # pip brings no libcudnn.so
  printf '#define CUDNN_MAJOR %d\n#define CUDNN_MINOR 7\n#define CUDNN_PATCHLEVEL 2\n' "$2" \
    >"$1/nvidia/cudnn/include/cudnn_version.h"
}
find_cudnn() {  # find_cudnn BUILD_DIR [VARIABLE=VALUE...]: what CMake says, where the toolkit itself has no cuDNN
  local toolkit=${CUDA_HOME:-/usr/local/cuda}
  env "${@:2}" cmake -S "$scratch" -B "$scratch/$1" "-DCMAKE_IGNORE_PATH=$toolkit/include;$toolkit/lib64;$toolkit/lib" 2>&1
}

site="$scratch/python/lib/python3.12/site-packages"
plant "$site" 9
mkdir "$scratch/bin"
printf '#!/bin/sh\necho %s\n' "$site" >"$scratch/bin/python3"
chmod +x "$scratch/bin/python3"
find_cudnn by_python "PATH=$scratch/bin:$PATH" |
  grep -F "found $site/nvidia/cudnn/lib/libcudnn.so.9 $site/nvidia/cudnn/include 9.7.2"

site="$scratch/venv/lib/python3.11/site-packages"
plant "$site" 9
printf '#!/bin/sh\nexit 1\n' >"$scratch/bin/python3"
find_cudnn by_venv "PATH=$scratch/bin:$PATH" "VIRTUAL_ENV=$scratch/venv" |
  grep -F "found $site/nvidia/cudnn/lib/libcudnn.so.9 $site/nvidia/cudnn/include 9.7.2"

plant "$site" 8
if find_cudnn too_old "PATH=$scratch/bin:$PATH" "VIRTUAL_ENV=$scratch/venv" >"$scratch/said"; then
  echo "a cuDNN 8 was taken"
  exit 1
fi
grep -q 'Found unsuitable version "8.7.2"' "$scratch/said"
