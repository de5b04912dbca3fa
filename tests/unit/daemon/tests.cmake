postern_unit_test(daemon LINK postern_daemon)
