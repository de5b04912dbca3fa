postern_unit_test(auth LINK part_auth postern_daemon)
