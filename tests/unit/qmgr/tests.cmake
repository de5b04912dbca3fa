postern_unit_test(qmgr LINK part_qmgr postern_daemon)
