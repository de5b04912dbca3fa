#include "common/agent/status_filter.h"

#include <catch2/catch.hpp>

namespace postern::agent {

TEST_CASE("a filter may say how a failure is one, not that it is none") {
  struct Case {
    std::string_view result, status;
    bool is_good;
  };
  const auto c = GENERATE(values<Case>({
      {"5.7.4 TLS is required", "4.7.4", true},
      {"4.2.2 later", "5.2.2", true},
      {"2.0.0 delivered", "2.0.0", true},
      {" 5.1.1  gone ", "5.1.1", true},
      {"2.0.0 fine", "5.1.1", false},
      {"5.1.1 gone", "2.0.0", false},
      {"gone", "5.1.1", false},
      {"5.1.1", "5.1.1", false},
      {"5.1.1 ", "5.1.1", false},
      {"", "5.1.1", false},
  }));
  INFO(c.result);
  CHECK(parse_filtered_status(c.result, c.status).has_value() == c.is_good);
}

}  // namespace postern::agent
