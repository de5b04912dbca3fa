postern_unit_test(postern LINK part_postern)
