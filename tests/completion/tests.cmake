# Completions in the shells themselves; skipped where a shell is not installed.
foreach(shell bash zsh fish)
  add_test(NAME completion_${shell}
           COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/completion/completion.py ${CMAKE_SOURCE_DIR}
                   ${CMAKE_BINARY_DIR}/sbin $<TARGET_FILE:queue_maker> ${shell})
  set_tests_properties(completion_${shell} PROPERTIES LABELS system TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endforeach()
