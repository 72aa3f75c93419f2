# What `cmake --install` puts in place: libkith (shared and static) with its headers, kith.pc and CMake package; the command
# with its manual and completions.  The components are those of the Debian packages (KithPackages.cmake).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(KITH_ZSH_DIR ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING "where zsh looks for completions")

kith_library(kith_shared SHARED)
set_target_properties(kith_shared PROPERTIES EXPORT_NAME kith VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/libkith.map)
# C is hidden unless it is KITH_API; the map hides BLAKE3's assembly too.
target_link_options(kith_shared PRIVATE LINKER:--no-undefined "LINKER:--version-script=${CMAKE_SOURCE_DIR}/cmake/libkith.map")

install(TARGETS kith_shared EXPORT KithTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  LIBRARY COMPONENT library NAMELINK_COMPONENT development)
install(TARGETS kith_static EXPORT KithStaticTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} ARCHIVE COMPONENT development)
# `cmake --install --strip` leaves static libraries alone, since a plain strip would take their symbols.
install(CODE "if(CMAKE_INSTALL_DO_STRIP)
  execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug --enable-deterministic-archives
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libkith.a\" COMMAND_ERROR_IS_FATAL ANY)
endif()" COMPONENT development)
install(DIRECTORY include/kith DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN *.h)

file(RELATIVE_PATH KITH_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" KITH_PC_TO_PREFIX ${KITH_PC_TO_PREFIX})
string(REPLACE ";" ", " KITH_PC_REQUIRES "${KITH_MODULES}")
string(REPLACE ">=" " >= " KITH_PC_REQUIRES "${KITH_PC_REQUIRES}")
configure_file(cmake/kith.pc.in kith.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/kith.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Kith)
string(REPLACE ";" " " KITH_CONFIG_MODULES "${KITH_MODULES}")
configure_file(cmake/KithConfig.cmake.in KithConfig.cmake @ONLY)
write_basic_package_version_file(KithConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/KithConfig.cmake ${CMAKE_BINARY_DIR}/KithConfigVersion.cmake DESTINATION ${package_dir}
  COMPONENT development)
foreach(set KithTargets KithStaticTargets)
  install(EXPORT ${set} NAMESPACE Kith:: DESTINATION ${package_dir} COMPONENT development)
endforeach()

# The manual of the library, from the comments in its headers.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_Interpreter_FOUND)
  file(GLOB headers CONFIGURE_DEPENDS include/kith/*.h)
  set(reference ${CMAKE_SOURCE_DIR}/script/reference)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man3.made DEPENDS ${reference} script/headers.py ${headers} CMakeLists.txt VERBATIM
    COMMAND ${Python3_EXECUTABLE} ${reference} --man ${CMAKE_BINARY_DIR}/man3
    COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/man3.made)
  add_custom_target(kith-man3 ALL DEPENDS ${CMAKE_BINARY_DIR}/man3.made)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/man3 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT development)
endif()

install(TARGETS kith RUNTIME COMPONENT command)
install(FILES packaging/kith-relay.service DESTINATION lib/systemd/system COMPONENT command)
install(FILES packaging/kith.service DESTINATION lib/systemd/user COMPONENT command)
# The command's manual, where scdoc is there to make it.
find_program(KITH_SCDOC scdoc)
if(KITH_SCDOC)
  file(GLOB pages CONFIGURE_DEPENDS docs/man/*.scd)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/man)
  set(manual "")
  foreach(page IN LISTS pages)
    get_filename_component(name ${page} NAME_WLE)
    set(made ${CMAKE_BINARY_DIR}/man/${name})
    add_custom_command(OUTPUT ${made}.gz DEPENDS ${page} VERBATIM
      COMMAND sh -c "\"$0\" < \"$1\" > \"$2\" && gzip -9nf \"$2\"" ${KITH_SCDOC} ${page} ${made})
    list(APPEND manual ${made}.gz)
    string(REGEX MATCH "[0-9]$" section ${name})
    install(FILES ${made}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT command)
  endforeach()
  add_custom_target(kith-man ALL DEPENDS ${manual})
endif()

# kith_completion(shell folder name): a file that the command itself prints
function(kith_completion shell folder name)
  set(script ${CMAKE_BINARY_DIR}/completions/${name})
  add_custom_command(OUTPUT ${script} DEPENDS kith VERBATIM
    COMMAND sh -c "\"$0\" completion $1 > \"$2\"" $<TARGET_FILE:kith> ${shell} ${script})
  add_custom_target(kith-completion-${shell} ALL DEPENDS ${script})
  install(FILES ${script} DESTINATION ${folder} COMPONENT command)
endfunction()
if(NOT CMAKE_CROSSCOMPILING)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/completions)
  kith_completion(bash ${CMAKE_INSTALL_DATADIR}/bash-completion/completions kith)
  kith_completion(zsh ${KITH_ZSH_DIR} _kith)
  kith_completion(fish ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d kith.fish)
endif()

if(KITH_PACKAGES)
  include(KithPackages)
endif()
