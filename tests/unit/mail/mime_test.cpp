#include "common/mail/mime.h"

#include <catch2/catch.hpp>

namespace postern::mail {

namespace {

class Recorder final : public MimeSink {
 public:
  void header(HeaderClass header_class, std::string_view field) override {
    text += header_class == HeaderClass::kNested ? "N|" : "M|";
    (text += field) += '\n';
  }
  void header_end() override { text += "-\n"; }
  void body(std::string_view piece, bool ends_line, std::uint64_t) override {
    text += piece;
    if (ends_line) text += '\n';
  }
  std::string text;
};

std::string parsed(MimeOptions options, std::string_view header, std::string_view body) {
  Recorder recorder;
  MimeParser parser(options, recorder);
  parser.start(header);
  // In pieces of every size: what comes out does not depend on them.
  for (std::size_t at = 0; at < body.size(); at += 7) parser.add(body.substr(at, 7));
  parser.finish();
  return recorder.text;
}

}  // namespace

TEST_CASE("content types") {
  struct Case {
    std::string_view value;
    ContentType::Kind kind;
    std::string_view boundary;
  };
  using Kind = ContentType::Kind;
  const auto c = GENERATE(values<Case>({
      {"text/plain; charset=utf-8", Kind::kText, ""},
      {"multipart/mixed; boundary=b", Kind::kMultipart, "b"},
      {"Multipart/Mixed;\n\tboundary=\"a;b \\\"c\"", Kind::kMultipart, "a;b \"c"},
      {"multipart/mixed; x=\"boundary=no\"; boundary=yes", Kind::kMultipart, "yes"},
      {"multipart/mixed", Kind::kMultipart, ""},
      {"multipart/mixed; boundary", Kind::kMultipart, ""},
      {"message/rfc822", Kind::kMessage, ""},
      {"application/pdf; name=x", Kind::kOther, ""},
      {"", Kind::kText, ""},
  }));
  INFO(c.value);
  const auto type = parse_content_type(c.value);
  CHECK(type.kind == c.kind);
  CHECK(type.boundary == c.boundary);
}

TEST_CASE("headers of parts and of attached messages are told apart") {
  CHECK(parsed({}, "Content-Type: multipart/mixed; boundary=b\n",
               "pre\n--b\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: text/plain\n"
               "\ntext\n--b--\nend\n") ==
        "pre\n--b\nM|Content-Type: message/rfc822\n-\nN|Subject: x\nM|Content-Type: text/plain\n"
        "-\ntext\n--b--\nend\n");
}

TEST_CASE("beyond the nesting limit all is text") {
  MimeOptions options;
  options.mime_nesting_limit = 1;
  CHECK(parsed(options, "Content-Type: multipart/mixed; boundary=a\n",
               "--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n\n--a--\n") ==
        "--a\nM|Content-Type: multipart/mixed; boundary=b\n-\n--b\nX: y\n\n--a--\n");
}

TEST_CASE("8-bit text becomes quoted-printable, and only that") {
  MimeOptions options;
  options.downgrade = true;
  const std::string_view part =
      "--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n"
      "\xc3\xa4 = x \n--b\nContent-Transfer-Encoding: base64\n\neA==\n--b--\n";
  CHECK(parsed(options, "Content-Type: multipart/mixed; boundary=b\n", part) ==
        "--b\nM|Content-Type: text/plain\nM|Content-Transfer-Encoding: quoted-printable\n-\n"
        "=C3=A4 =3D x=20\n--b\nM|Content-Transfer-Encoding: base64\n-\neA==\n--b--\n");
}

TEST_CASE("no line of quoted-printable text is longer than 76 characters") {
  MimeOptions options;
  options.downgrade = true;
  const std::string body(1000, '\xe4');
  const std::string text = parsed(options, "Content-Transfer-Encoding: 8bit\n", body + "\n");
  std::size_t start = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
    CHECK(end - start <= 76);
    start = end + 1;
  }
  CHECK(start == text.size());
}

}  // namespace postern::mail
