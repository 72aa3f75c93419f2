# Debian packages by CPack (script/package): libkith0, libkith-dev and kith, one of each component of KithInstall.cmake.
set(KITH_MAINTAINER "The Kith maintainers <maintainers@kith.invalid>" CACHE STRING "who answers for the packages")
set(CPACK_GENERATOR DEB)
set(CPACK_OUTPUT_FILE_PREFIX ${CMAKE_SOURCE_DIR}/build/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT ${KITH_MAINTAINER})
set(CPACK_COMPONENTS_ALL library development command)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(pitch "Kith pairs devices with six words and sends files between them over the local network, end-to-end encrypted.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libkith${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "${pitch}\n.\nThis package has the shared library.")

# Linking libkith.a takes what KITH_MODULES names.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libkith-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
string(CONCAT CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libkith${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION}), libngtcp2-dev (>= 1.11), "
  "libsodium-dev, libssl-dev, libargon2-dev, libuv1-dev, libavahi-core-dev, libjansson-dev, libcbor-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "${pitch}\n.\nThis package has the headers, their manual, the static library, the pkg-config file and the CMake package.")

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME kith)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION net)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMMAND_PACKAGE_DEPENDS libwebsockets-evlib-uv) # which libwebsockets loads when the relay runs
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "${pitch}\n.\nThis package has the command.")

# Debian's name and form for it.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS CHANGELOG.md)
execute_process(COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/CHANGELOG.md OUTPUT_FILE ${CMAKE_BINARY_DIR}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  install(FILES packaging/copyright ${CMAKE_BINARY_DIR}/changelog.gz DESTINATION ${doc_dir} COMPONENT ${component})
endforeach()
include(CPack)
