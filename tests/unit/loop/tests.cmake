postern_unit_test(loop LINK postern_loop)
