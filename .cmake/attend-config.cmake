include(CMakeFindDependencyMacro)

# Without a version, since a request for 3.4 would turn Eigen 5 away.
find_dependency(Eigen3)
if(DEFINED Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
    set(attend_FOUND FALSE)
    set(attend_NOT_FOUND_MESSAGE "attend needs Eigen 3.4 or later; found ${Eigen3_VERSION} in ${Eigen3_DIR}")
    return()
endif()

include("${CMAKE_CURRENT_LIST_DIR}/attend-targets.cmake")

# What is compiled is compiled in the project that asks for it: find_package(attend COMPONENTS dispatch)
if("dispatch" IN_LIST attend_FIND_COMPONENTS)
    include("${CMAKE_CURRENT_LIST_DIR}/dispatch.cmake")
    attend_add_dispatch()
endif()
