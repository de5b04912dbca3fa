# Output beside Postfix's: against recordings, and live where Postfix 3.7 is installed.
add_test(NAME compare_postconf
         COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/compare/postconf.py check
                 ${CMAKE_BINARY_DIR}/sbin/postconf)
set_tests_properties(compare_postconf PROPERTIES LABELS system TIMEOUT 600
  ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")

add_executable(queue_maker compare/queue_maker.cpp)
postern_use_pch(queue_maker)
target_link_libraries(queue_maker PRIVATE postern_flags postern_queuefile PkgConfig::json_pc)
add_test(NAME compare_queue_tools
         COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/compare/queue.py check ${CMAKE_BINARY_DIR}/sbin
                 $<TARGET_FILE:queue_maker>)
set_tests_properties(compare_queue_tools PROPERTIES LABELS system TIMEOUT 300 SKIP_RETURN_CODE 77
  ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")

# `postern check` over the same configurations.
add_test(NAME compare_check
         COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/compare/check.py ${CMAKE_BINARY_DIR}/sbin/postern)
set_tests_properties(compare_check PROPERTIES LABELS system TIMEOUT 120
  ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
