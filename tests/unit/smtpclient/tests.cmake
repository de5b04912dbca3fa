postern_unit_test(smtpclient LINK postern_smtpclient)
target_sources(unit_smtpclient PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/tls/make_certificate.cpp)
postern_fuzzer(nexthop LINK postern_smtpclient)
postern_fuzzer(smtp_client_session LINK postern_smtpclient)
