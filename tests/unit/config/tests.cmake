postern_unit_test(config LINK postern_config)
postern_fuzzer(main_cf LINK postern_config)
postern_fuzzer(master_cf LINK postern_config)
postern_fuzzer(expand LINK postern_config)
