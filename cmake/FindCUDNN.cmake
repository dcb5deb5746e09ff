# cuDNN 9 has no CMake package, and on some machines it lies inside Python's site-packages. Gives CUDNN::cudnn.
include("${CMAKE_CURRENT_LIST_DIR}/PythonPlaces.cmake")
set(places $ENV{CUDNN_HOME} ${CUDAToolkit_LIBRARY_ROOT} ${CUDAToolkit_TARGET_DIR} /usr/local/cuda)
foreach(place IN LISTS TENREC_PYTHON_NVIDIA)
  list(APPEND places "${place}/cudnn" "${place}/cu13")
endforeach()
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${places} PATH_SUFFIXES include)
# The library beside the header, if there is one; pip's has its version's name alone.
get_filename_component(beside "${CUDNN_INCLUDE_DIR}/.." ABSOLUTE)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS "${beside}" ${places}
             PATH_SUFFIXES lib64 lib lib/x64)
if(CUDNN_INCLUDE_DIR AND EXISTS "${CUDNN_INCLUDE_DIR}/cudnn_version.h")
  file(STRINGS "${CUDNN_INCLUDE_DIR}/cudnn_version.h" lines REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9]+" "." CUDNN_VERSION "${lines}")
  string(REGEX REPLACE "^\\.|\\.$" "" CUDNN_VERSION "${CUDNN_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR VERSION_VAR CUDNN_VERSION)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn UNKNOWN IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES IMPORTED_LOCATION "${CUDNN_LIBRARY}"
                                                INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE_DIR}")
endif()
