postern_unit_test(base LINK postern_base)
