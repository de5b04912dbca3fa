postern_unit_test(milter LINK postern_milter)
postern_fuzzer(milter_reply LINK postern_milter)
