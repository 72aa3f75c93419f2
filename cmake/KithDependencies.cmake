# The libraries Kith is built on; script/bootstrap installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
# What libkith needs, in one imported target; kith.pc and the CMake package name the same.
set(KITH_MODULES "libngtcp2>=1.11" libsodium libssl libcrypto libargon2 libuv avahi-core jansson libcbor)
pkg_check_modules(KITH_DEPENDS REQUIRED IMPORTED_TARGET ${KITH_MODULES})
# The command needs these besides: libwebsockets for the relay's server.
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(QRENCODE REQUIRED IMPORTED_TARGET libqrencode)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(LIBWEBSOCKETS REQUIRED IMPORTED_TARGET libwebsockets)

# BLAKE3: a system's libblake3 has no subtree interface in its public header, so its C is compiled from Debian's package of it,
# which script/bootstrap unpacks.  SIMD: assembly on amd64, intrinsics for NEON on arm64.
set(KITH_BLAKE3_DIR ${CMAKE_SOURCE_DIR}/build/deps/blake3/c)
if(NOT EXISTS ${KITH_BLAKE3_DIR}/blake3.c)
  message(FATAL_ERROR "BLAKE3's sources are missing: run script/bootstrap")
endif()
set(blake3_sources blake3.c blake3_dispatch.c blake3_portable.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND blake3_sources blake3_sse2_x86-64_unix.S blake3_sse41_x86-64_unix.S blake3_avx2_x86-64_unix.S blake3_avx512_x86-64_unix.S)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND blake3_sources blake3_neon.c)
endif()
list(TRANSFORM blake3_sources PREPEND ${KITH_BLAKE3_DIR}/)
add_library(kith_blake3 OBJECT ${blake3_sources})
target_include_directories(kith_blake3 SYSTEM PUBLIC ${KITH_BLAKE3_DIR})
target_compile_options(kith_blake3 PRIVATE -fvisibility=hidden -ffunction-sections -fno-asynchronous-unwind-tables)
# Of 1 MB that is hashed, these two have less than one instruction in a hundred: they give the work out to the others.
set_source_files_properties(${KITH_BLAKE3_DIR}/blake3.c ${KITH_BLAKE3_DIR}/blake3_dispatch.c PROPERTIES
  COMPILE_OPTIONS $<$<CONFIG:RelWithDebInfo>:-Os>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  target_compile_definitions(kith_blake3 PRIVATE BLAKE3_USE_NEON=1)
endif()
