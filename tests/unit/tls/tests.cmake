postern_unit_test(tls LINK postern_tls)
postern_fuzzer(tls_texts LINK postern_tls)
postern_fuzzer(tls_report LINK postern_tls)
