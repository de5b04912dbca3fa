postern_unit_test(dns LINK postern_dns)
postern_fuzzer(dns_packet LINK postern_dns)
