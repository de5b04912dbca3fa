// xml_reader.h - as much of XML as reports need: elements and their text. Pure.
//
// Attributes, comments and processing instructions are passed over, prefixes of names are dropped.
// A document type is refused: it is what makes small texts expand into large ones. Nothing here
// recurses.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mailauth {

class XmlReader {
 public:
  static constexpr std::size_t kMaxDepth = 32;

  explicit XmlReader(std::string_view text) : rest_(text) {}

  enum class Event : unsigned char { kOpen, kClose, kEnd, kError };
  // The next element's begin or end. After kError nothing more comes.
  Event next();

  // The element that was opened or closed last.
  [[nodiscard]] const std::string& name() const { return name_; }
  // With kClose: the text that stood directly in front of the end, without white space around it.
  [[nodiscard]] std::string text() const;
  // The names of all open elements, that of the event included.
  [[nodiscard]] std::size_t depth() const { return open_.size(); }

 private:
  [[nodiscard]] bool take_until(std::string_view end, std::string_view& taken);
  Event fail();

  std::string_view rest_;
  std::vector<std::string> open_;
  std::string name_;
  std::string text_;
  bool closes_next_ = false;  // of <empty/>
  bool pop_next_ = false;
  bool is_failed_ = false;
};

}  // namespace postern::mailauth
