# The scheduler alone, with a clock of its own. The plot is left beside the program.
add_executable(simulate_scheduler simulation/scheduler.cpp)
postern_use_pch(simulate_scheduler)
target_link_libraries(simulate_scheduler PRIVATE postern_flags part_qmgr postern_daemon)
add_test(NAME simulation_scheduler
         COMMAND simulate_scheduler --svg ${CMAKE_CURRENT_BINARY_DIR}/scheduler.svg)
set_tests_properties(simulation_scheduler PROPERTIES TIMEOUT 300 LABELS unit)
