postern_unit_test(broker LINK part_broker postern_daemon)
