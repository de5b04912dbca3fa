# Output beside Postfix's: against recordings, and live where Postfix 3.7 is installed.
add_test(NAME compare_postconf
         COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/compare/postconf.py check
                 ${CMAKE_BINARY_DIR}/sbin/postconf)
set_tests_properties(compare_postconf PROPERTIES LABELS system TIMEOUT 600
  ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
