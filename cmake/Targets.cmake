# Targets.cmake - how a library, a program and a test are declared: one line each.

include(GNUInstallDirs)

# The standard library, fmt and Result are parsed once, not once a file.
file(WRITE ${CMAKE_BINARY_DIR}/pch_anchor.cpp "// Holds the precompiled header that all targets share.\n")
add_library(postern_pch OBJECT ${CMAKE_BINARY_DIR}/pch_anchor.cpp)
target_link_libraries(postern_pch PUBLIC postern_flags PkgConfig::fmt_pc)
target_precompile_headers(postern_pch PRIVATE
  <algorithm> <array> <chrono> <coroutine> <cstddef> <cstdint> <cstring> <deque> <expected>
  <functional> <map> <memory> <optional> <span> <string> <string_view> <unordered_map> <utility>
  <variant> <vector> <fmt/format.h> ${CMAKE_SOURCE_DIR}/common/base/result.h)

function(postern_use_pch target)
  target_precompile_headers(${target} REUSE_FROM postern_pch)
endfunction()

# postern_library(NAME BELOW PREVIOUS [LINK ...]): every .cpp of common/NAME; may include what
# stands above it in common/CMakeLists.txt, and is linked so.
function(postern_library name)
  cmake_parse_arguments(arg "" "BELOW" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/common/${name}/*.cpp)
  if(NOT sources)
    add_library(postern_${name} INTERFACE)
    set(scope INTERFACE)
  else()
    add_library(postern_${name} STATIC ${sources})
    set(scope PUBLIC)
    postern_use_pch(postern_${name})
  endif()
  target_link_libraries(postern_${name} ${scope} postern_flags PkgConfig::fmt_pc ${arg_LINK})
  if(arg_BELOW)
    target_link_libraries(postern_${name} ${scope} postern_${arg_BELOW})
  endif()
endfunction()

# postern_part(NAME [LINK ...]): the code of a daemon's folder as a library, so that unit tests
# can reach it; everything but main.cpp.
function(postern_part name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(part_${name} STATIC ${sources})
  postern_use_pch(part_${name})
  target_link_libraries(part_${name} PUBLIC postern_flags ${arg_LINK})
endfunction()

# postern_program(NAME DESTINATION [LINK ...]): main.cpp of this folder; DESTINATION is sbin,
# bin or libexec/postern below the prefix. Takes part_NAME along when there is one.
function(postern_program name destination)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  set(target ${name})
  if(name MATCHES "^(install|test|all|clean|help)$")
    message(FATAL_ERROR "${name} is a reserved target name")
  endif()
  add_executable(${target} ${CMAKE_CURRENT_SOURCE_DIR}/main.cpp)
  postern_use_pch(${target})
  target_link_libraries(${target} PRIVATE postern_flags ${arg_LINK})
  if(TARGET part_${name})
    target_link_libraries(${target} PRIVATE part_${name})
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${destination})
  install(TARGETS ${target} RUNTIME DESTINATION ${destination})
endfunction()

# postern_lean(PROGRAM): a command that runs once for each message. Half of its time would go into
# loading libraries: the small ones become part of it, and libc and libm are left to load.
function(postern_lean program)
  if(POSTERN_SANITIZE OR NOT POSTERN_LLD OR NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    return()
  endif()
  target_sources(${program} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/in_place.cpp)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/cmake/in_place.cpp PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-w")
  # In front of the dynamic ones, which --as-needed then leaves out.
  target_link_options(${program} PRIVATE -static-libstdc++ -static-libgcc
    -Wl,-Bstatic -lz -Wl,-Bdynamic)
endfunction()

# postern_daemon(NAME [LINK ...]): a program below libexec/postern.
function(postern_daemon name)
  postern_program(${name} libexec/postern ${ARGN})
endfunction()

# postern_alias(NAME PROGRAM DESTINATION): another name of a program, made as a symbolic link both
# in the build tree and at installation.
function(postern_alias name program destination)
  get_target_property(from ${program} RUNTIME_OUTPUT_DIRECTORY)
  get_filename_component(from_name ${from} NAME)
  set(link_dir ${CMAKE_BINARY_DIR}/${destination})
  file(RELATIVE_PATH target_path ${link_dir} ${from}/${program})
  file(MAKE_DIRECTORY ${link_dir})
  file(CREATE_LINK ${target_path} ${link_dir}/${name} SYMBOLIC)
  install(CODE "
    set(d \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${destination}\")
    file(MAKE_DIRECTORY \"\${d}\")
    file(CREATE_LINK \"${target_path}\" \"\${d}/${name}\" SYMBOLIC)")
endfunction()
