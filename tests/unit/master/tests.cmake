postern_unit_test(master LINK part_master)
