postern_unit_test(anvil LINK part_anvil postern_daemon)
