#include "common/mail/mime.h"

#include "common/base/text.h"

namespace postern::mail {

bool is_8bit(std::string_view chunk) { return !is_all_ascii(chunk); }

}  // namespace postern::mail
