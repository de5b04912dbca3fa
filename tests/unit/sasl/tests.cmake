postern_unit_test(sasl LINK postern_sasl)
postern_fuzzer(dovecot_auth LINK postern_sasl)
postern_fuzzer(sasl_client LINK postern_sasl)
postern_fuzzer(scram LINK postern_sasl)
