postern_unit_test(postlog LINK part_postlog)
