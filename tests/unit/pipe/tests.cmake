if(TARGET part_pipe)
  postern_unit_test(pipe LINK part_pipe postern_daemon)
endif()
