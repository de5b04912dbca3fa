if(TARGET part_postern-milter)
  postern_unit_test(postern-milter LINK part_postern-milter)
endif()
