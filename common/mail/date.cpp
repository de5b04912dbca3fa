#include "common/mail/date.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <ctime>

namespace postern::mail {

namespace {

constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr int kTmYearBase = 1900;

std::tm local_time(WallTime when) {
  const std::time_t seconds = WallTime::clock::to_time_t(when);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return parts;
}

const char* day_name(const std::tm& t) { return kDays.at(static_cast<std::size_t>(t.tm_wday)); }
const char* month_name(const std::tm& t) { return kMonths.at(static_cast<std::size_t>(t.tm_mon)); }

}  // namespace

std::string format_date(WallTime when) {
  const std::tm t = local_time(when);
  const long minutes = t.tm_gmtoff / 60;
  return fmt::format("{}, {:2} {} {} {:02}:{:02}:{:02} {}{:02}{:02} ({})", day_name(t), t.tm_mday,
                     month_name(t), t.tm_year + kTmYearBase, t.tm_hour, t.tm_min, t.tm_sec,
                     minutes < 0 ? '-' : '+', std::labs(minutes) / 60, std::labs(minutes) % 60,
                     t.tm_zone != nullptr ? t.tm_zone : "");
}

std::string format_listing_date(WallTime when) {
  const std::tm t = local_time(when);
  return fmt::format("{} {} {:2} {:02}:{:02}:{:02}", day_name(t), month_name(t), t.tm_mday,
                     t.tm_hour, t.tm_min, t.tm_sec);
}

std::string format_ctime(WallTime when) {
  return fmt::format("{} {}", format_listing_date(when), local_time(when).tm_year + kTmYearBase);
}

std::string format_stamp(WallTime when) {
  const std::time_t seconds = WallTime::clock::to_time_t(when);
  std::tm t{};
  ::gmtime_r(&seconds, &t);
  return fmt::format("{:04}{:02}{:02}{:02}{:02}{:02}", t.tm_year + kTmYearBase, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace postern::mail
