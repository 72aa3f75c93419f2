include(CheckCSourceRuns)

# Each folder of src/ is a layer with an object library of its own, kith_<layer>.  A layer may use those named here, and (by
# script/check-includes, which reads this table) include their headers and no others.
set(KITH_LAYERS base wire crypto identity discovery path quic env store service relay io sim node op api)
set(KITH_USES_base "")
set(KITH_USES_wire base)
set(KITH_USES_crypto base wire)
set(KITH_USES_identity base wire crypto)
set(KITH_USES_discovery base wire crypto identity)
set(KITH_USES_path base wire)
set(KITH_USES_quic base wire crypto path)
set(KITH_USES_env base)
set(KITH_USES_store base wire crypto identity env)
set(KITH_USES_service base wire crypto identity)
set(KITH_USES_relay base wire crypto identity)
set(KITH_USES_io base wire env)
set(KITH_USES_sim base wire env)
set(KITH_USES_node base wire crypto identity discovery path quic env store service)
set(KITH_USES_op base wire crypto identity discovery path quic env store service node)
set(KITH_USES_api base wire crypto identity discovery path quic env store service node op io)

# Everything is compiled for size, but for the files that show in a profile of a transfer or in bench/instructions
# (docs/performance.md): those for speed.
set(KITH_FAST_FILES base/addr base/buf base/mem base/text wire/cbor wire/websocket crypto/aead crypto/blake3 crypto/hash path/framer
  quic/callbacks quic/conn quic/datagram quic/deadlines quic/endpoint quic/events quic/frames quic/idmap quic/output quic/paths quic/protect
  quic/stream quic/streambuf quic/window service/talk service/talk_bytes io/loop io/udp)
# Aligned, what is jumped to takes 11 KiB more, and not one instruction less is executed.
set(KITH_FAST -O2 -fno-align-functions -fno-align-jumps -fno-align-labels -fno-align-loops)
add_library(kith_small INTERFACE)
target_compile_options(kith_small INTERFACE $<$<CONFIG:RelWithDebInfo>:-Os>)

add_library(kith_flags INTERFACE)
target_compile_options(kith_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wundef -Wpointer-arith -fvisibility=hidden -fno-common -ffunction-sections -fdata-sections
  -fno-asynchronous-unwind-tables # a sixth of the size; debuggers have .debug_frame
  $<$<BOOL:${KITH_WERROR}>:-Werror> $<$<CONFIG:RelWithDebInfo>:-fstack-protector-strong>)
target_compile_definitions(kith_flags INTERFACE _GNU_SOURCE KITH_VERSION="${PROJECT_VERSION}"
  $<$<CONFIG:RelWithDebInfo>:_FORTIFY_SOURCE=2>)
target_include_directories(kith_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
target_link_options(kith_flags INTERFACE LINKER:--gc-sections,--as-needed)
# Where linker and loader know them (glibc 2.36), packed relocations: 24 KiB less.
if(NOT CMAKE_CROSSCOMPILING)
  set(CMAKE_REQUIRED_LINK_OPTIONS LINKER:-z,pack-relative-relocs,--fatal-warnings)
  check_c_source_runs("int main(void) { return 0; }" KITH_PACKS_RELOCATIONS)
  unset(CMAKE_REQUIRED_LINK_OPTIONS)
  if(KITH_PACKS_RELOCATIONS)
    target_link_options(kith_flags INTERFACE LINKER:-z,pack-relative-relocs)
  endif()
endif()
if(KITH_SANITIZE)
  target_compile_options(kith_flags INTERFACE -fsanitize=${KITH_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(kith_flags INTERFACE -fsanitize=${KITH_SANITIZE})
  if(KITH_SANITIZE MATCHES undefined)
    target_compile_options(kith_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
  if(KITH_FUZZ)
    target_compile_options(kith_flags INTERFACE -fsanitize=fuzzer-no-link)
  endif()
endif()

set(KITH_LIBRARIES PkgConfig::KITH_DEPENDS Threads::Threads m)
foreach(layer IN LISTS KITH_LAYERS)
  file(GLOB layer_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${layer}/*.c)
  if(NOT layer_sources)
    continue()
  endif()
  add_library(kith_${layer} OBJECT ${layer_sources})
  target_link_libraries(kith_${layer} PRIVATE kith_flags kith_small ${KITH_LIBRARIES})
  target_include_directories(kith_${layer} SYSTEM PRIVATE ${KITH_BLAKE3_DIR})
endforeach()
foreach(name IN LISTS KITH_FAST_FILES)
  set(file ${CMAKE_SOURCE_DIR}/src/${name}.c)
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "KITH_FAST_FILES: there is no ${file}")
  endif()
  set_property(SOURCE ${file} PROPERTY COMPILE_OPTIONS "$<$<CONFIG:RelWithDebInfo>:${KITH_FAST}>") # after the layer's
endforeach()

# kith_link_layers(target layer...): the objects of these layers, of all they use, and the libraries.
function(kith_link_layers target)
  set(all ${ARGN})
  foreach(layer IN LISTS ARGN)
    list(APPEND all ${KITH_USES_${layer}})
  endforeach()
  list(REMOVE_DUPLICATES all)
  foreach(layer IN LISTS all)
    if(TARGET kith_${layer})
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:kith_${layer}>)
    endif()
  endforeach()
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:kith_blake3>)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:kith_flags> ${KITH_LIBRARIES})
endfunction()

# kith_library(target STATIC|SHARED): libkith, which an application links: every layer but the simulator.
function(kith_library target kind)
  add_library(${target} ${kind})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME kith ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  kith_link_layers(${target} api)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
endfunction()
kith_library(kith_static STATIC)
