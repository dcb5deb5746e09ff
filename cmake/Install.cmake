# `cmake --install`: library, public headers, CMake package and pkg-config file.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/tenrec")

install(TARGETS tenrec EXPORT tenrecTargets)
install(FILES tenrec.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tenrec" OPTIONAL)
# *_impl.h and cuda/ are the library's own: they may name third-party headers, and no public header includes them.
install(DIRECTORY ${TENREC_LAYERS} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tenrec"
        FILES_MATCHING PATTERN "*.h" PATTERN "*_impl.h" EXCLUDE PATTERN "cuda" EXCLUDE)
install(EXPORT tenrecTargets NAMESPACE tenrec:: DESTINATION "${package_dir}")

get_target_property(library_type tenrec TYPE)
string(COMPARE EQUAL "${library_type}" STATIC_LIBRARY TENREC_STATIC)
configure_package_config_file(cmake/tenrecConfig.cmake.in tenrecConfig.cmake INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(tenrecConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/tenrecConfig.cmake" "${PROJECT_BINARY_DIR}/tenrecConfigVersion.cmake"
        cmake/FindOneDNN.cmake DESTINATION "${package_dir}")

file(RELATIVE_PATH pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
# By name and not as Requires.private: `--static` would ask for static builds of all that those need in turn.
set(pc_libs "-ljpeg -lpng -lz -lstdc++ -lm -pthread")
if(CURL_FOUND)
  string(PREPEND pc_libs "-lcurl ")
endif()
if(TENREC_HAVE_ONEDNN)
  string(PREPEND pc_libs "-ldnnl -lgomp ")
endif()
configure_file(cmake/tenrec.pc.in tenrec.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/tenrec.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
