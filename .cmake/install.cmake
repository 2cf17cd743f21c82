include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/attend")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/attend-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(TARGETS attend EXPORT attend-targets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT attend-targets NAMESPACE attend:: DESTINATION "${package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/.cmake/attend-config.cmake" "${PROJECT_BINARY_DIR}/attend-config-version.cmake"
    DESTINATION "${package_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
