#include "common/mailauth/xml_reader.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::mailauth {

namespace {

constexpr std::size_t kMaxText = 4096;  // of one element

std::string plain_name(std::string_view tag) {
  const std::size_t end = std::min(tag.find_first_of(" \t\r\n/"), tag.size());
  std::string_view name = tag.substr(0, end);
  if (const auto colon = name.rfind(':'); colon != std::string_view::npos) {
    name.remove_prefix(colon + 1);
  }
  return std::string(name);
}

std::string unescape(std::string_view text) {
  constexpr std::array kEntities = {
      std::pair{std::string_view("&amp;"), '&'}, std::pair{std::string_view("&lt;"), '<'},
      std::pair{std::string_view("&gt;"), '>'}, std::pair{std::string_view("&quot;"), '"'},
      std::pair{std::string_view("&apos;"), '\''}};
  std::string out;
  while (!text.empty()) {
    const std::size_t at = std::min(text.find('&'), text.size());
    out += text.substr(0, at);
    text.remove_prefix(at);
    if (text.empty()) break;
    const auto* entity = std::ranges::find_if(
        kEntities, [&](const auto& known) { return text.starts_with(known.first); });
    if (entity == kEntities.end()) {
      out += '&';
      text.remove_prefix(1);
    } else {
      out += entity->second;
      text.remove_prefix(entity->first.size());
    }
  }
  return out;
}

}  // namespace

std::string XmlReader::text() const { return unescape(trim(text_)); }

XmlReader::Event XmlReader::fail() {
  is_failed_ = true;
  return Event::kError;
}

bool XmlReader::take_until(std::string_view end, std::string_view& taken) {
  const std::size_t at = rest_.find(end);
  if (at == std::string_view::npos) return false;
  taken = rest_.substr(0, at);
  rest_.remove_prefix(at + end.size());
  return true;
}

XmlReader::Event XmlReader::next() {
  if (is_failed_) return Event::kError;
  if (std::exchange(pop_next_, false)) open_.pop_back();
  if (std::exchange(closes_next_, false)) {
    text_.clear();
    pop_next_ = true;
    return Event::kClose;
  }
  for (;;) {
    const std::size_t start = std::min(rest_.find('<'), rest_.size());
    if (text_.size() < kMaxText) text_ += rest_.substr(0, std::min(start, kMaxText));
    rest_.remove_prefix(start);
    if (rest_.empty()) return open_.empty() ? Event::kEnd : fail();
    std::string_view taken;
    if (rest_.starts_with("<!--")) {
      if (!take_until("-->", taken)) return fail();
      continue;
    }
    if (rest_.starts_with("<?")) {
      if (!take_until("?>", taken)) return fail();
      continue;
    }
    if (rest_.starts_with("<![CDATA[")) {
      if (!take_until("]]>", taken)) return fail();
      continue;
    }
    if (rest_.starts_with("<!") || !take_until(">", taken)) return fail();
    taken.remove_prefix(1);
    if (taken.starts_with('/')) {
      name_ = plain_name(taken.substr(1));
      if (open_.empty() || open_.back() != name_) return fail();
      pop_next_ = true;
      return Event::kClose;
    }
    name_ = plain_name(taken);
    if (name_.empty() || open_.size() == kMaxDepth) return fail();
    open_.push_back(name_);
    text_.clear();
    closes_next_ = taken.ends_with('/');
    return Event::kOpen;
  }
}

}  // namespace postern::mailauth
