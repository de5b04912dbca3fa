postern_unit_test(pickup LINK part_pickup)
