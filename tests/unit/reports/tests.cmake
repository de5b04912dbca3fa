postern_unit_test(reports LINK part_reports)
