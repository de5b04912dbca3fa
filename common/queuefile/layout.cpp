#include "common/queuefile/layout.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cassert>

#include "common/queuefile/envelope.h"

namespace postern::queuefile {

namespace {

constexpr std::string_view kMagic = "PQtrail\n";
constexpr std::string_view kEndMagic = "\nPQ.";

void append_fixed(std::string& out, std::uint64_t number, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(number >> (8 * i) & 0xff);
}

std::uint64_t take_fixed(std::string_view& in, unsigned bytes) {
  std::uint64_t number = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    number |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  in.remove_prefix(bytes);
  return number;
}

std::unexpected<Error> damage(std::string_view what, std::uint64_t offset) {
  return fail(Error::Kind::kDamaged, fmt::format("trailer at offset {}: {}", offset, what));
}

bool is_within(const Extent& part, std::uint64_t begin, std::uint64_t end) {
  return part.offset >= begin && part.offset <= end && part.length <= end - part.offset;
}

}  // namespace

void Checksum::add(std::string_view bytes) {
  // zlib begins anew where the pointer is null, as that of an empty view may be.
  if (bytes.empty()) return;
  value_ = static_cast<std::uint32_t>(crc32_z(
      value_, static_cast<const Bytef*>(static_cast<const void*>(bytes.data())), bytes.size()));
}

void append_trailer(std::string& out, Layout& layout, Checksum file_so_far) {
  const std::size_t start = out.size();
  out += kMagic;
  for (const Extent& part : {layout.envelope, layout.body, layout.header, layout.extra}) {
    append_fixed(out, part.offset, 8);
    append_fixed(out, part.length, 8);
  }
  append_fixed(out, layout.message_size, 8);
  file_so_far.add(std::string_view(out).substr(start));
  layout.checksum = file_so_far.value();
  append_fixed(out, layout.checksum, 4);
  out += kEndMagic;
  assert(out.size() - start == kTrailerSize);
}

bool has_trailer(std::string_view tail) {
  return tail.size() >= kTrailerSize && tail.ends_with(kEndMagic) &&
         tail.substr(tail.size() - kTrailerSize).starts_with(kMagic);
}

Result<Layout> parse_trailer(std::string_view tail, std::uint64_t file_size) {
  assert(has_trailer(tail));
  if (file_size < tail.size() || file_size < kVersionLine.size() + kTrailerSize) {
    return damage("file too short", 0);
  }
  const std::uint64_t trailer = file_size - kTrailerSize;
  std::string_view in = tail.substr(tail.size() - kTrailerSize + kMagic.size());
  Layout layout;
  for (Extent* part : {&layout.envelope, &layout.body, &layout.header, &layout.extra}) {
    part->offset = take_fixed(in, 8);
    part->length = take_fixed(in, 8);
  }
  layout.message_size = take_fixed(in, 8);
  layout.checksum = static_cast<std::uint32_t>(take_fixed(in, 4));

  if (layout.envelope.offset != kVersionLine.size() || !is_within(layout.envelope, 0, trailer)) {
    return damage("envelope out of place", trailer);
  }
  if (layout.extra.length == 0) layout.extra.offset = trailer;
  if (!is_within(layout.extra, layout.envelope.end(), trailer) || layout.extra.end() != trailer) {
    return damage("extra run out of place", trailer);
  }
  if (!is_within(layout.body, layout.envelope.end(), layout.extra.offset) ||
      !is_within(layout.header, layout.body.end(), layout.extra.offset) ||
      layout.header.end() != layout.extra.offset) {
    return damage("content out of place", trailer);
  }
  if (layout.envelope.length > kMaxEnvelopeBytes || layout.extra.length > kMaxEnvelopeBytes) {
    return damage("envelope too long", trailer);
  }
  return layout;
}

}  // namespace postern::queuefile
