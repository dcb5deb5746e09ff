# Everything that can be chosen, and the flags that follow from it. Flags sit on an interface target that only Tenrec's
# own targets use (tenrec_flags), so nothing leaks into a consumer.
string(COMPARE EQUAL "${CMAKE_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}" TENREC_TOP_LEVEL)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(default_arch x86-64-v3)
endif()

option(BUILD_SHARED_LIBS "Build a shared library" OFF)
option(TENREC_BUILD_TESTS "Build the tests" ${TENREC_TOP_LEVEL})
option(TENREC_BUILD_BENCH "Build the benchmarks" ${TENREC_TOP_LEVEL})
option(TENREC_BUILD_EXAMPLES "Build the examples" ${TENREC_TOP_LEVEL})
option(TENREC_WERROR "Treat warnings as errors" OFF)
set(TENREC_ARCH "${default_arch}" CACHE STRING "-march of the library; empty: the compiler's default")
set(TENREC_CUDA OFF CACHE STRING "CUDA kernels: OFF, EMULATED (compiled for the host) or ON")
set(TENREC_ONEDNN AUTO CACHE STRING "oneDNN for matrix products and convolutions: AUTO, ON or OFF")
set(TENREC_SANITIZE "" CACHE STRING "Empty, address,undefined or thread")
set_property(CACHE TENREC_CUDA PROPERTY STRINGS OFF EMULATED ON)
set_property(CACHE TENREC_ONEDNN PROPERTY STRINGS AUTO ON OFF)

if(NOT TENREC_CUDA MATCHES "^(OFF|EMULATED|ON)$")
  message(FATAL_ERROR "TENREC_CUDA=${TENREC_CUDA}: must be OFF, EMULATED or ON.")
endif()
if(NOT TENREC_ONEDNN MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "TENREC_ONEDNN=${TENREC_ONEDNN}: must be AUTO, ON or OFF.")
endif()

if(TENREC_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_CXX_EXTENSIONS OFF)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  endif()
endif()

add_library(tenrec_flags INTERFACE)
target_compile_options(tenrec_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-Wall;-Wextra;-Wpedantic;-Wshadow>"
                                              "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${TENREC_WERROR}>>:-Werror>"
                                              "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${TENREC_ARCH}>>:-march=${TENREC_ARCH}>")
if(TENREC_SANITIZE)
  add_library(tenrec_sanitize INTERFACE)
  target_compile_options(tenrec_sanitize INTERFACE -fsanitize=${TENREC_SANITIZE} -fno-omit-frame-pointer
                                                   -fno-sanitize-recover=all)
  target_link_options(tenrec_sanitize INTERFACE -fsanitize=${TENREC_SANITIZE})
  # g++ 12 sees uninitialised values that are not there once the sanitizer has rewritten the code.
  target_compile_options(tenrec_flags INTERFACE -Wno-maybe-uninitialized)
endif()
