// test_milter - a filter on Sendmail's library that does what a script says, so that our side of
// the protocol meets the real one.
//
//     test_milter SOCKET SCRIPT LOG
//
// SOCKET is as libmilter has it ("inet:9000@127.0.0.1", "unix:/path"). Each line of SCRIPT is an
// event and what is done at it; the last of several lines that end the event counts:
//
//     EVENT continue | accept | reject | tempfail | discard | skip | noreply
//     EVENT reply CODE STATUS TEXT
//     EVENT sleep SECONDS | die
//     eom   addheader NAME VALUE | insheader INDEX NAME VALUE | chgheader INDEX NAME VALUE |
//           delheader INDEX NAME | replacebody TEXT | addrcpt ADDRESS | delrcpt ADDRESS |
//           chgfrom ADDRESS | quarantine REASON | progress TIMES
//     options NAME ...        steps that are not to be shown (nohelo, nobody, ...), or rejected
//     macros STAGE NAMES      libmilter's smfi_setsymlist for connect, helo, mail, rcpt, data, eoh,
//     eom read MACRO ...          whose values LOG is to have with each event
//
// EVENTs are connect, helo, mail, rcpt, data, header, eoh, body, eom, abort, close, unknown. LOG
// gets one line for each event.

#include <libmilter/mfapi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Line {
  std::string event, action, rest;
};

std::vector<Line> script;
std::vector<std::string> macros_read;
std::string log_path;

std::string next_word(std::string& text) {
  const auto begin = text.find_first_not_of(' ');
  if (begin == std::string::npos) {
    text.clear();
    return {};
  }
  const auto end = text.find(' ', begin);
  std::string word = text.substr(begin, end == std::string::npos ? end : end - begin);
  text = end == std::string::npos ? std::string() : text.substr(end + 1);
  return word;
}

void note(SMFICTX* context, const std::string& event, const std::string& what) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::ofstream log(log_path, std::ios::app);
  log << event;
  if (!what.empty()) log << ' ' << what;
  for (const auto& name : macros_read) {
    std::string symbol = name;
    const char* value = ::smfi_getsymval(context, symbol.data());
    if (value != nullptr) log << " | " << name << '=' << value;
  }
  log << std::endl;
}

void change(SMFICTX* context, const std::string& action, std::string rest) {
  const auto number = [&] { return std::atoi(next_word(rest).c_str()); };
  int done = MI_SUCCESS;
  if (action == "addheader") {
    std::string name = next_word(rest);
    done = ::smfi_addheader(context, name.data(), rest.data());
  } else if (action == "insheader") {
    const int index = number();
    std::string name = next_word(rest);
    done = ::smfi_insheader(context, index, name.data(), rest.data());
  } else if (action == "chgheader" || action == "delheader") {
    const int index = number();
    std::string name = next_word(rest);
    done = ::smfi_chgheader(context, name.data(), index,
                            action == "delheader" ? nullptr : rest.data());
  } else if (action == "replacebody") {
    std::string text;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      const bool is_end = rest[i] == '\\' && i + 1 < rest.size() && rest[i + 1] == 'n';
      text += is_end ? "\r\n" : std::string(1, rest[i]);
      i += is_end ? 1 : 0;
    }
    std::vector<unsigned char> bytes(text.begin(), text.end());
    // In two pieces, with the line end parted.
    const auto first = static_cast<int>(bytes.size() / 2);
    done = ::smfi_replacebody(context, bytes.data(), first);
    if (done == MI_SUCCESS) {
      done =
          ::smfi_replacebody(context, bytes.data() + first, static_cast<int>(bytes.size()) - first);
    }
  } else if (action == "addrcpt") {
    done = ::smfi_addrcpt(context, rest.data());
  } else if (action == "delrcpt") {
    done = ::smfi_delrcpt(context, rest.data());
  } else if (action == "chgfrom") {
    done = ::smfi_chgfrom(context, rest.data(), nullptr);
  } else if (action == "quarantine") {
    done = ::smfi_quarantine(context, rest.data());
  } else if (action == "progress") {
    for (int i = number(); i > 0 && done == MI_SUCCESS; --i) {
      ::sleep(1);
      done = ::smfi_progress(context);
    }
  }
  if (done != MI_SUCCESS) note(context, "failed", action);
}

sfsistat react(SMFICTX* context, const std::string& event, const std::string& what) {
  note(context, event, what);
  sfsistat status = SMFIS_CONTINUE;
  for (const auto& line : script) {
    if (line.event != event) continue;
    const std::string& action = line.action;
    std::string rest = line.rest;
    if (action == "accept") status = SMFIS_ACCEPT;
    if (action == "reject") status = SMFIS_REJECT;
    if (action == "tempfail") status = SMFIS_TEMPFAIL;
    if (action == "discard") status = SMFIS_DISCARD;
    if (action == "skip") status = SMFIS_SKIP;
    if (action == "noreply") status = SMFIS_NOREPLY;
    if (action == "sleep") ::sleep(static_cast<unsigned>(std::atoi(rest.c_str())));
    if (action == "die") ::_exit(9);
    if (action == "reply") {
      std::string code = next_word(rest);
      std::string extended = next_word(rest);
      if (::smfi_setreply(context, code.data(), extended.data(), rest.data()) == MI_SUCCESS) {
        status = code[0] == '4' ? SMFIS_TEMPFAIL : SMFIS_REJECT;
      } else {
        note(context, "failed", "reply");
      }
    }
    if (event == "eom") change(context, action, rest);
  }
  return status;
}

std::string joined(char** words) {
  std::string text;
  for (; words != nullptr && *words != nullptr; ++words) {
    if (!text.empty()) text += ' ';
    text += *words;
  }
  return text;
}

sfsistat on_connect(SMFICTX* context, char* host, _SOCK_ADDR* address) {
  return react(context, "connect", std::string(host) + (address == nullptr ? " -" : ""));
}
sfsistat on_helo(SMFICTX* context, char* name) { return react(context, "helo", name); }
sfsistat on_mail(SMFICTX* context, char** words) { return react(context, "mail", joined(words)); }
sfsistat on_rcpt(SMFICTX* context, char** words) { return react(context, "rcpt", joined(words)); }
sfsistat on_data(SMFICTX* context) { return react(context, "data", {}); }
sfsistat on_header(SMFICTX* context, char* name, char* value) {
  return react(context, "header", std::string(name) + ": " + value);
}
sfsistat on_end_of_header(SMFICTX* context) { return react(context, "eoh", {}); }
sfsistat on_body(SMFICTX* context, unsigned char* /*bytes*/, std::size_t size) {
  return react(context, "body", std::to_string(size));
}
sfsistat on_end(SMFICTX* context) { return react(context, "eom", {}); }
sfsistat on_abort(SMFICTX* context) { return react(context, "abort", {}); }
sfsistat on_close(SMFICTX* context) { return react(context, "close", {}); }
sfsistat on_unknown(SMFICTX* context, const char* text) { return react(context, "unknown", text); }

struct Named {
  const char* name;
  unsigned long value;
};
constexpr Named kSteps[] = {{"noconnect", SMFIP_NOCONNECT},
                            {"nohelo", SMFIP_NOHELO},
                            {"nomail", SMFIP_NOMAIL},
                            {"norcpt", SMFIP_NORCPT},
                            {"nobody", SMFIP_NOBODY},
                            {"noheaders", SMFIP_NOHDRS},
                            {"noeoh", SMFIP_NOEOH},
                            {"nodata", SMFIP_NODATA},
                            {"nounknown", SMFIP_NOUNKNOWN},
                            {"rejected", SMFIP_RCPT_REJ},
                            {"skip", SMFIP_SKIP},
                            {"nr_header", SMFIP_NR_HDR},
                            {"nr_body", SMFIP_NR_BODY},
                            {"nr_mail", SMFIP_NR_MAIL},
                            {"leading_space", SMFIP_HDR_LEADSPC}};
constexpr Named kStages[] = {{"connect", SMFIM_CONNECT}, {"helo", SMFIM_HELO},
                             {"mail", SMFIM_ENVFROM},    {"rcpt", SMFIM_ENVRCPT},
                             {"data", SMFIM_DATA},       {"eom", SMFIM_EOM},
                             {"eoh", SMFIM_EOH}};

sfsistat on_negotiate(SMFICTX* context, unsigned long offered_actions, unsigned long offered_steps,
                      unsigned long, unsigned long, unsigned long* actions, unsigned long* steps,
                      unsigned long* more, unsigned long* still_more) {
  *actions = offered_actions;
  *steps = 0;
  *more = *still_more = 0;
  for (const auto& line : script) {
    if (line.event == "options") {
      std::string words = line.action + " " + line.rest;
      for (std::string word = next_word(words); !word.empty(); word = next_word(words)) {
        for (const auto& step : kSteps) {
          if (word == step.name) *steps |= step.value & offered_steps;
        }
      }
    }
    if (line.event == "macros") {
      for (const auto& stage : kStages) {
        if (line.action != stage.name) continue;
        std::string names = line.rest;
        ::smfi_setsymlist(context, static_cast<int>(stage.value), names.data());
      }
    }
  }
  return SMFIS_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  log_path = argv[3];
  std::ifstream file(argv[2]);
  for (std::string text; std::getline(file, text);) {
    Line line;
    line.event = next_word(text);
    if (line.event == "read") {
      for (std::string word = next_word(text); !word.empty(); word = next_word(text)) {
        macros_read.push_back(word);
      }
      continue;
    }
    line.action = next_word(text);
    line.rest = text;
    script.push_back(line);
  }
  std::string name = "test_milter";
  smfiDesc filter{};
  filter.xxfi_name = name.data();
  filter.xxfi_version = SMFI_VERSION;
  filter.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT |
                      SMFIF_DELRCPT | SMFIF_QUARANTINE | SMFIF_CHGFROM | SMFIF_SETSYMLIST;
  filter.xxfi_connect = on_connect;
  filter.xxfi_helo = on_helo;
  filter.xxfi_envfrom = on_mail;
  filter.xxfi_envrcpt = on_rcpt;
  filter.xxfi_header = on_header;
  filter.xxfi_eoh = on_end_of_header;
  filter.xxfi_body = on_body;
  filter.xxfi_eom = on_end;
  filter.xxfi_abort = on_abort;
  filter.xxfi_close = on_close;
  filter.xxfi_unknown = on_unknown;
  filter.xxfi_data = on_data;
  filter.xxfi_negotiate = on_negotiate;
  if (::smfi_setconn(argv[1]) != MI_SUCCESS || ::smfi_register(filter) != MI_SUCCESS) return 1;
  return ::smfi_main();
}
