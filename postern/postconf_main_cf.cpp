#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/text.h"
#include "common/config/main_cf.h"
#include "postern/config_edit.h"
#include "postern/postconf_verbs.h"
#include "postern/postconf_viewer.h"

namespace postern::control::postconf {

using namespace config;

namespace {

// The edit that one argument asks for.
Result<MainEdit> parse_edit(const Request& request, const std::string& argument) {
  const auto refused = [](std::string text) { return fail(Error::Kind::kConfig, std::move(text)); };
  if (argument.find('\n') != std::string::npos) {
    return refused("-e, -X, or -# accepts no multi-line input");
  }
  if (trim(argument).starts_with('#')) {
    return refused("-e, -X, or -# accepts no comment input");
  }
  MainEdit edit;
  if (request.action == Action::kEdit) {
    TRY(std::tie(edit.name, edit.value), parse_setting(argument));
  } else {
    const bool comments = request.action == Action::kComment;
    if (argument.find('=') != std::string::npos) {
      return refused(fmt::format("specify one of -e {}", comments ? "-#" : "-X"));
    }
    edit.name = trim(argument);
    edit.kind = comments ? MainEdit::Kind::kComment : MainEdit::Kind::kRemove;
    if (edit.name.empty()) return refused("-X or -# requires non-blank parameter names");
  }
  if (!is_parameter_name(edit.name)) {
    return refused(fmt::format("bad parameter name: \"{}\"", edit.name));
  }
  return edit;
}

// Of several values for one name the last one counts.
void add_edit(std::vector<MainEdit>& edits, MainEdit edit) {
  const auto earlier = std::ranges::find(edits, edit.name, &MainEdit::name);
  if (earlier != edits.end()) {
    if (edit.kind == MainEdit::Kind::kSet) {
      warn(fmt::format("ignoring earlier request: '{} = {}'", earlier->name, earlier->value));
    }
    edits.erase(earlier);
  }
  edits.push_back(std::move(edit));
}

}  // namespace

int show_main(const Request& request) {
  const auto loaded = load_for(request);
  if (!loaded) return fatal(loaded.error().text);
  if (const auto told = tell_problems(request, loaded->problems); !told) {
    return fatal(told.error().text);
  }
  const MainViewer viewer(request, loaded->snapshot);
  if (!request.defaults) viewer.warn_undefined();
  if (request.names.empty())
    viewer.show_all();
  else
    viewer.show_named();
  (void)std::fflush(stdout);
  if (!request.defaults) viewer.warn_unused();
  return 0;
}

int edit_main(const Request& request) {
  std::vector<MainEdit> edits;
  for (const std::string& argument : request.names) {
    auto edit = parse_edit(request, argument);
    if (!edit) return fatal(edit.error().text);
    add_edit(edits, *std::move(edit));
  }
  const std::string path = request.directory + "/main.cf";
  std::vector<std::string> repeated;
  const auto done = edit_file(path, [&](std::string_view text) -> Result<std::string> {
    return edit_main_cf(text, edits, &repeated);
  });
  if (!done) return fatal(done.error().text);
  for (const std::string& name : repeated) {
    warn(fmt::format("{}: multiple entries for \"{}\"", path, name));
  }
  return 0;
}

}  // namespace postern::control::postconf
