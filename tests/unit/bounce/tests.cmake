if(TARGET part_bounce)
  postern_unit_test(bounce LINK part_bounce postern_daemon)
endif()
