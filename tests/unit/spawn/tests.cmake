postern_unit_test(spawn LINK part_spawn postern_daemon)
