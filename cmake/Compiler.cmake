# Compiler.cmake - the language level, warnings and sanitizers, the same for every target.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR
    "GCC older than 14 miscompiles the coroutines that every daemon is made of (double frees in "
    "awaited calls). Build with clang 19: the presets name it, `cmake --preset dev` takes it.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# One code model for libraries and programs, or they could not share a precompiled header.
add_compile_options(-fPIE)
add_link_options(-pie)

option(POSTERN_TESTS "build the tests" ON)
option(POSTERN_FUZZ "build the libFuzzer targets" OFF)
set(POSTERN_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize takes them")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# NDEBUG is never defined: an assert is a promise that production keeps too.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")

add_library(postern_flags INTERFACE)
target_compile_options(postern_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fstack-protector-strong)
target_compile_definitions(postern_flags INTERFACE _GNU_SOURCE)
target_include_directories(postern_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(CMAKE_BUILD_TYPE STREQUAL "Debug" OR POSTERN_SANITIZE)
  target_compile_definitions(postern_flags INTERFACE _GLIBCXX_ASSERTIONS)
else()
  target_compile_options(postern_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(POSTERN_SANITIZE)
  target_compile_options(postern_flags INTERFACE
    -fsanitize=${POSTERN_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(postern_flags INTERFACE -fsanitize=${POSTERN_SANITIZE})
endif()
if(POSTERN_FUZZ)
  target_compile_options(postern_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
# Small binaries: what a daemon does not share with others is counted once for
# each of the dozen that run.
target_compile_options(postern_flags INTERFACE -ffunction-sections -fdata-sections)
target_link_options(postern_flags INTERFACE -Wl,--as-needed -Wl,-z,relro -Wl,-z,now
  -Wl,--gc-sections)

find_program(POSTERN_LLD NAMES ld.lld-19 ld.lld)
if(POSTERN_LLD AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_link_options(postern_flags INTERFACE -fuse-ld=lld --ld-path=${POSTERN_LLD}
    -Wl,--icf=safe)
  # Relocations in a bitmap: a hundred kilobytes less for each process to read at its start.
  target_link_options(postern_flags INTERFACE -Wl,-z,pack-relative-relocs)
endif()
find_program(POSTERN_CCACHE ccache)
if(POSTERN_CCACHE)
  # A precompiled header is opaque to ccache's own look into files.
  set(ENV{CCACHE_SLOPPINESS} "pch_defines,time_macros,include_file_mtime,include_file_ctime")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
    ${POSTERN_CCACHE})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Xclang> $<$<COMPILE_LANGUAGE:CXX>:-fno-pch-timestamp>)
endif()
