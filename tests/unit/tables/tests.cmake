postern_unit_test(tables LINK part_tables)
