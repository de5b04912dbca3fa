postern_unit_test(flush LINK part_flush postern_daemon)
