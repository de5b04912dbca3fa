postern_unit_test(log LINK postern_log)
