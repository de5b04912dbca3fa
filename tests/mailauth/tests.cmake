# The library of mail authentication against the implementations that others use.
add_executable(mailauth_probe mailauth/probe.cpp)
postern_use_pch(mailauth_probe)
target_link_libraries(mailauth_probe PRIVATE postern_mailauth PkgConfig::json_pc)

# Debian's modules belong to Debian's interpreter, whatever else is first on the path.
find_program(POSTERN_DEBIAN_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT POSTERN_DEBIAN_PYTHON)
  set(POSTERN_DEBIAN_PYTHON python3)
endif()

# postern_mailauth_test(NAME): tests/mailauth/NAME.py, which skips what is not installed.
function(postern_mailauth_test name)
  add_test(NAME mailauth_${name}
    COMMAND ${POSTERN_DEBIAN_PYTHON} ${CMAKE_SOURCE_DIR}/tests/mailauth/${name}.py $<TARGET_FILE:mailauth_probe>)
  set_tests_properties(mailauth_${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS mailauth
    ENVIRONMENT "POSTERN_TEST_SUPPORT=${CMAKE_CURRENT_BINARY_DIR}/support;PYTHONDONTWRITEBYTECODE=1")
endfunction()

postern_mailauth_test(spf_suite)
postern_mailauth_test(crosscheck)

# By hand: what canonical forms and parsing add to the bare cryptography.
add_executable(mailauth_cost EXCLUDE_FROM_ALL mailauth/cost.cpp)
target_link_libraries(mailauth_cost PRIVATE postern_mailauth)
