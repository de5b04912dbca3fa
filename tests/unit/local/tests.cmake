if(TARGET part_local)
  postern_unit_test(local LINK part_local postern_daemon)
endif()
