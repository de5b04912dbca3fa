// result.h - how a function says that it failed, and how its caller passes that on.
//
// Result<T> holds a T or an Error. An Error's kind says what is to be done about it, not who
// noticed; its text is one line for the administrator. Absence is not failure: what may be absent
// is a Result<std::optional<T>>.
//
//     TRY(const auto size, read_size(fd));   // declares size, or returns read_size's error
//     DO(write_all(fd, text));               // the same for Result<void>
//     CO_TRY, CO_DO                          // the same in a coroutine

#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace postern {

struct Error {
  enum class Kind : unsigned char {
    kTemporary,  // 4xx, defer: also whenever in doubt, for mail that waits can be saved
    kPermanent,  // 5xx, bounce
    kConfig,     // 4xx, and a warning with file and line
    kDamaged,    // set aside, warn, go on
  };
  Kind kind = Kind::kTemporary;
  std::string text;

  friend bool operator==(const Error&, const Error&) = default;
};

template <typename T>
using Result = std::expected<T, Error>;

// The failing value of any Result.
[[nodiscard]] inline std::unexpected<Error> fail(Error::Kind kind, std::string text) {
  return std::unexpected(Error{kind, std::move(text)});
}

[[nodiscard]] inline std::unexpected<Error> fail_temporary(std::string text) {
  return fail(Error::Kind::kTemporary, std::move(text));
}

// The error with what was being done in front of it: "open hash:/etc/aliases: permission denied".
[[nodiscard]] inline std::unexpected<Error> fail_in(std::string_view doing, Error error) {
  error.text.insert(0, ": ").insert(0, doing);
  return std::unexpected(std::move(error));
}

}  // namespace postern

#define POSTERN_JOIN2(a, b) a##b
#define POSTERN_JOIN(a, b) POSTERN_JOIN2(a, b)

#define POSTERN_TRY(leave, declaration, result, ...)             \
  auto result = (__VA_ARGS__);                                   \
  if (!result) leave std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

#define POSTERN_DO(leave, ...)                                \
  do {                                                        \
    if (auto postern_done = (__VA_ARGS__); !postern_done)     \
      leave std::unexpected(std::move(postern_done).error()); \
  } while (false)

#define TRY(declaration, ...) \
  POSTERN_TRY(return, declaration, POSTERN_JOIN(postern_result_, __LINE__), __VA_ARGS__)
#define CO_TRY(declaration, ...) \
  POSTERN_TRY(co_return, declaration, POSTERN_JOIN(postern_result_, __LINE__), __VA_ARGS__)
#define DO(...) POSTERN_DO(return, __VA_ARGS__)
#define CO_DO(...) POSTERN_DO(co_return, __VA_ARGS__)
