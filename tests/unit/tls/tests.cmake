postern_unit_test(tls LINK postern_tls)
