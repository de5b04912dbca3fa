postern_unit_test(verify LINK part_verify postern_daemon)
