postern_unit_test(keyring LINK part_keyring)
postern_fuzzer(key_purpose LINK part_keyring)
