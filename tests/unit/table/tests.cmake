postern_unit_test(table LINK postern_table)
postern_fuzzer(table_server LINK postern_table)
