postern_unit_test(table LINK postern_table)
