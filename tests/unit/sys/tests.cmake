postern_unit_test(sys LINK postern_sys)
