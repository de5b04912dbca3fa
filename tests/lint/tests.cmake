add_test(NAME lint_layers COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/layers)
add_test(NAME lint_format COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/format)
add_test(NAME lint_man COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/man ${CMAKE_BINARY_DIR}/share/man)
set_tests_properties(lint_layers lint_format lint_man PROPERTIES LABELS lint TIMEOUT 120)
