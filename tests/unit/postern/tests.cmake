postern_unit_test(postern LINK part_postern)
target_sources(unit_postern PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/tls/make_certificate.cpp)
