postern_unit_test(mail LINK postern_mail)
postern_fuzzer(address_5321 LINK postern_mail)
postern_fuzzer(address_5322 LINK postern_mail)
postern_fuzzer(header LINK postern_mail)
