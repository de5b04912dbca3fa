# The whole suite on a private machine, through its outer interfaces only. Each program starts
# itself in namespaces of its own (harness.py), so that all can run at once; without root they are
# skipped.

set(prefix ${CMAKE_CURRENT_BINARY_DIR}/prefix)
set(support ${CMAKE_CURRENT_BINARY_DIR}/support)

# Makes the system calls of a commit fail: preloaded into one daemon.
add_library(faults SHARED support/faults.cpp)
target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(faults PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${support})
# Shows one daemon another day.
add_library(clock SHARED support/clock.cpp)
target_link_libraries(clock PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(clock PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${support})

# Tries, in a daemon's place, what a daemon must not do.
add_executable(hostile support/hostile.cpp)
postern_use_pch(hostile)
target_link_libraries(hostile PRIVATE postern_flags postern_daemon)
set_target_properties(hostile PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${support})
# What a command of a user may still do.
add_executable(probe support/probe.cpp)
target_link_libraries(probe PRIVATE postern_flags)
set_target_properties(probe PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${support})

add_test(NAME system_install
         COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/system/install.py ${CMAKE_BINARY_DIR} ${prefix})
set_tests_properties(system_install PROPERTIES
  FIXTURES_SETUP system_prefix LABELS system TIMEOUT 120 SKIP_RETURN_CODE 77
  ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")

# Sanitizers multiply what a process holds: bounds of memory are not looked at then.
set(environment "POSTERN_TEST_PREFIX=${prefix}" "POSTERN_TEST_SUPPORT=${support}"
  "PYTHONDONTWRITEBYTECODE=1" "POSTERN_TEST_SANITIZE=${POSTERN_SANITIZE}"
  "POSTERN_TEST_BUILD=${CMAKE_BUILD_TYPE}")

# postern_system_test(NAME PROGRAM TIMEOUT [ARGUMENTS...])
function(postern_system_test name program timeout)
  add_test(NAME system_${name}
           COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/system/${program}.py ${ARGN})
  set_tests_properties(system_${name} PROPERTIES
    FIXTURES_REQUIRED system_prefix LABELS system TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment}")
endfunction()

postern_system_test(end_to_end end_to_end 120)
postern_system_test(aliases aliases 120)
postern_system_test(backup_mx backup_mx 120)
postern_system_test(fallback_relay fallback_relay 120)
postern_system_test(parameters parameters 120)
postern_system_test(console console 240)
foreach(first 1 6 11 16)
  math(EXPR last "${first} + 4")
  set(seeds "")
  foreach(seed RANGE ${first} ${last})
    list(APPEND seeds ${seed})
  endforeach()
  postern_system_test(kill_${first}_to_${last} kill 180 ${seeds})
endforeach()
postern_system_test(disk_full disk_full 120)
postern_system_test(fsync_fails fsync_fails 120)
postern_system_test(commit_crash commit_crash 120)
postern_system_test(marking_crash marking_crash 240
                    qmgr_dies_while_mail_waits qmgr_dies_at_the_end bounce_dies)
postern_system_test(client_crash marking_crash 300 smtp_dies lmtp_dies)
postern_system_test(local_crash marking_crash 300 local_dies_at_an_mbox local_dies_at_a_maildir
                    local_dies_between_its_parts)
postern_system_test(exim_partner exim_partner 120)
postern_system_test(reload reload 120)
postern_system_test(confinement confinement 120)
postern_system_test(bad_input bad_input 120)
postern_system_test(local_users local_users 240)
postern_system_test(bad_peers bad_peers 120)
postern_system_test(attacks attacks 120)
postern_system_test(faults faults 240)
postern_system_test(prefix prefix 120)
postern_system_test(policy policy 180)
postern_system_test(restrictions restrictions 180)
postern_system_test(dialogue dialogue 120)
postern_system_test(clients clients 120)
postern_system_test(content content 120)
# Filters on Sendmail's library; without it there are none.
if(POSTERN_LIBMILTER AND POSTERN_LIBMILTER_INCLUDE)
  add_executable(test_milter support/test_milter.cpp)
  target_link_libraries(test_milter PRIVATE postern_flags ${POSTERN_LIBMILTER} Threads::Threads)
  target_include_directories(test_milter SYSTEM PRIVATE ${POSTERN_LIBMILTER_INCLUDE})
  set_target_properties(test_milter PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${support})
endif()
postern_system_test(milters milters 240)
postern_system_test(notices notices 120)
postern_system_test(server_tables server_tables 120)
postern_system_test(streams streams 120)
postern_system_test(sasl sasl 180)
postern_system_test(tls tls 240)
postern_system_test(secure_delivery secure_delivery 120)
postern_system_test(reports reports 120)
postern_system_test(logging logging_sinks 120)
postern_system_test(log_readers log_readers 120)
postern_system_test(mail_authentication mail_authentication 180)
set_property(TEST system_mail_authentication APPEND PROPERTY
  ENVIRONMENT "POSTERN_TEST_MAILAUTH_PROBE=$<TARGET_FILE:mailauth_probe>")
postern_system_test(authentication_cost authentication_cost 120)
set_property(TEST system_authentication_cost APPEND PROPERTY
  ENVIRONMENT "POSTERN_TEST_MAILAUTH_PROBE=$<TARGET_FILE:mailauth_probe>")
postern_system_test(course_exercise course_exercise 120)
set_property(TEST system_course_exercise APPEND PROPERTY
  ENVIRONMENT "POSTERN_TEST_MAILAUTH_PROBE=$<TARGET_FILE:mailauth_probe>")
