include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/attend")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/attend-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(TARGETS attend EXPORT attend-targets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT attend-targets NAMESPACE attend:: DESTINATION "${package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/.cmake/attend-config.cmake" "${PROJECT_BINARY_DIR}/attend-config-version.cmake"
    "${PROJECT_SOURCE_DIR}/.cmake/dispatch.cmake" "${PROJECT_SOURCE_DIR}/.cmake/dispatch.cpp.in"
    "${PROJECT_SOURCE_DIR}/.cmake/dispatch_level.cpp.in"
    DESTINATION "${package_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

# Found from where the file stands, so that an installation may be moved.
set(pkg_config_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
file(RELATIVE_PATH prefix_from_pc "/prefix/${pkg_config_dir}" "/prefix")
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file("${PROJECT_SOURCE_DIR}/.cmake/attend.pc.in" "${PROJECT_BINARY_DIR}/attend.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/attend.pc" DESTINATION "${pkg_config_dir}")
