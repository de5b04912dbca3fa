add_test(NAME lint_layers COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/layers)
add_test(NAME lint_format COMMAND ${CMAKE_SOURCE_DIR}/tests/lint/format)
set_tests_properties(lint_layers lint_format PROPERTIES LABELS lint TIMEOUT 120)
