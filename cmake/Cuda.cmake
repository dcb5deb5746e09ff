# CUDA, by TENREC_CUDA: OFF, the toolkit's compiler and libraries (ON), or the same kernel sources compiled for the host
# and run by tests/emulator (EMULATED), which needs the toolkit's headers alone.
if(TENREC_CUDA STREQUAL "OFF")
  target_sources(tenrec PRIVATE core/cuda/off.cpp)
  return()
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" core/cuda/*.cpp kernels/cuda/*.cpp)
list(REMOVE_ITEM cuda_sources core/cuda/off.cpp)
file(GLOB cuda_kernels CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" kernels/*.cu)
target_compile_definitions(tenrec PUBLIC TENREC_HAVE_CUDA)

# What calls NVIDIA's libraries has references in tests/emulator instead.
if(TENREC_CUDA STREQUAL "EMULATED")
  list(REMOVE_ITEM cuda_sources kernels/cuda/cublas.cpp kernels/cuda/cudnn.cpp core/cuda/nvtx.cpp)
  list(FILTER cuda_kernels EXCLUDE REGEX "_cub\\.cu$")
endif()
target_sources(tenrec PRIVATE ${cuda_sources} ${cuda_kernels})
if(TENREC_CUDA STREQUAL "EMULATED")
  find_path(TENREC_CUDA_HEADERS cuda_bf16.h HINTS "$ENV{CUDA_HOME}/include" /usr/local/cuda/include REQUIRED)
  mark_as_advanced(TENREC_CUDA_HEADERS)
  file(GLOB emulator_sources CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" tests/emulator/*.cpp)
  list(FILTER emulator_sources EXCLUDE REGEX "_test\\.cpp$")
  target_sources(tenrec PRIVATE ${emulator_sources})
  set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX)
  target_compile_definitions(tenrec PRIVATE TENREC_CUDA_EMULATED)
  target_include_directories(tenrec PRIVATE tests)
  target_include_directories(tenrec SYSTEM PRIVATE "${TENREC_CUDA_HEADERS}")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "GPU architectures; the last one's PTX goes in as well")
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # one runtime, that of the libraries too
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
find_package(CUDNN 9 REQUIRED)
# A toolkit may come without its product library where pip brought that.
if(NOT TARGET CUDA::cublasLt)
  include(PythonPlaces)
  set(places ${TENREC_PYTHON_NVIDIA})
  list(TRANSFORM places APPEND /cu13)
  find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 NAMES_PER_DIR HINTS ${places} PATH_SUFFIXES lib REQUIRED)
  find_path(CUBLASLT_INCLUDE_DIR cublasLt.h HINTS ${places} PATH_SUFFIXES include REQUIRED)
  mark_as_advanced(CUBLASLT_LIBRARY CUBLASLT_INCLUDE_DIR)
  add_library(CUDA::cublasLt UNKNOWN IMPORTED)
  set_target_properties(CUDA::cublasLt PROPERTIES IMPORTED_LOCATION "${CUBLASLT_LIBRARY}"
                                                  INTERFACE_INCLUDE_DIRECTORIES "${CUBLASLT_INCLUDE_DIR}")
endif()
# CMake 3.25 knows no C++20 for nvcc 13 and drops the request without a word.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set_target_properties(tenrec PROPERTIES CUDA_STANDARD 20 CUDA_EXTENSIONS OFF
                                        CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}" CUDA_RUNTIME_LIBRARY Shared)
# --fmad=false: elementwise results are those of the CPU; where a fused multiply-add is wanted it is written.
target_compile_options(tenrec PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--extended-lambda;--expt-relaxed-constexpr>")
if(TENREC_WERROR)
  target_compile_options(tenrec PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
target_link_libraries(tenrec PRIVATE CUDA::cudart CUDA::cublasLt CUDA::nvtx3 CUDNN::cudnn)
