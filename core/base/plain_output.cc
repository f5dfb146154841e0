#include "core/base/plain_output.h"

#include <langinfo.h>
#include <locale.h>
#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace swage {
namespace {

bool is_set(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// The environment alone: nothing of the process's own locale is changed, numbers keep their dots.
bool is_utf8() {
  const locale_t locale = newlocale(LC_CTYPE_MASK, "", nullptr);
  if (locale != nullptr) {
    const bool utf8 = strcasecmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
    freelocale(locale);
    return utf8;
  }
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {  // one that is not installed
    if (!is_set(name)) continue;
    const std::string value = std::getenv(name);
    return strcasestr(value.c_str(), "utf-8") != nullptr ||
           strcasestr(value.c_str(), "utf8") != nullptr;
  }
  return false;
}

bool draws_on(int descriptor) {
  const char* const terminal = std::getenv("TERM");
  return isatty(descriptor) != 0 && is_set("TERM") && std::strcmp(terminal, "dumb") != 0 &&
         !is_set("NO_COLOR") && is_utf8();
}

// Bytes at the end of `text` that begin a character without ending it.
size_t unfinished_bytes(const std::string& text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

// One of the two streams.
struct Output {
  int descriptor = -1;
  bool utf8 = false;
  std::string rest;  // the beginning of a character
};

ssize_t write_plainly(void* cookie, const char* bytes, size_t count) {
  Output& output = *static_cast<Output*>(cookie);
  std::string text = output.rest + std::string(bytes, count);
  const size_t kept = unfinished_bytes(text);
  output.rest = text.substr(text.size() - kept);
  text.resize(text.size() - kept);
  const std::string plain = plain_text(text, output.utf8);
  for (size_t done = 0; done < plain.size();) {
    const ssize_t wrote = write(output.descriptor, plain.data() + done, plain.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return 0;  // the stream is then in error
    done += static_cast<size_t>(wrote);
  }
  return static_cast<ssize_t>(count);
}

FILE* plain_stream(int descriptor) {
  static auto* const outputs = new Output[3];  // by descriptor, as long as the process
  outputs[descriptor] = {descriptor, is_utf8(), ""};
  FILE* const stream =
      fopencookie(&outputs[descriptor], "w", {nullptr, write_plainly, nullptr, nullptr});
  if (stream != nullptr) setvbuf(stream, nullptr, _IOLBF, BUFSIZ);
  return stream;
}

std::string escaped_json(const std::string& json) {
  std::string ascii;
  for (size_t at = 0; at < json.size();) {
    const auto byte = static_cast<unsigned char>(json[at]);
    const size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    if (length == 1 || at + length > json.size()) {
      ascii += json[at++];
      continue;
    }
    uint32_t code = byte & (0x7f >> length);
    for (size_t i = 1; i < length; ++i)
      code = code << 6 | (static_cast<unsigned char>(json[at + i]) & 0x3f);
    if (code >= 0x10000) {
      code -= 0x10000;
      absl::StrAppendFormat(&ascii, "\\u%04x\\u%04x", 0xd800 + (code >> 10),
                            0xdc00 + (code & 0x3ff));
    } else {
      absl::StrAppendFormat(&ascii, "\\u%04x", code);
    }
    at += length;
  }
  return ascii;
}

}  // namespace

bool draws_on_terminal() { return draws_on(STDERR_FILENO); }

void plain_output() {
  if (!draws_on(STDOUT_FILENO)) {
    if (FILE* const stream = plain_stream(STDOUT_FILENO)) stdout = stream;
  }
  if (!draws_on(STDERR_FILENO)) {
    if (FILE* const stream = plain_stream(STDERR_FILENO)) stderr = stream;
  }
}

std::string plain_text(const std::string& text, bool utf8) {
  const std::string plain = absl::StrReplaceAll(text, {{"…", "..."},
                                                       {"→", "->"},
                                                       {"—", "-"},
                                                       {"–", "-"},
                                                       {"−", "-"},
                                                       {"×", "x"},
                                                       {"·", "*"},
                                                       {"²", "^2"},
                                                       {"³", "^3"},
                                                       {"‖", "||"},
                                                       {"±", "+-"},
                                                       {"≤", "<="},
                                                       {"≥", ">="},
                                                       {"“", "\""},
                                                       {"”", "\""},
                                                       {"‘", "'"},
                                                       {"’", "'"}});
  if (utf8) return plain;
  std::string ascii;
  for (const char c : plain) {
    if (static_cast<unsigned char>(c) < 0x80)
      ascii += c;
    else
      absl::StrAppendFormat(&ascii, "\\x%02x", static_cast<unsigned char>(c));
  }
  return ascii;
}

void print_json(const std::string& json) {
  const std::string text = draws_on(STDOUT_FILENO) ? json : escaped_json(json);
  std::fprintf(stdout, "%s\n", text.c_str());
}

}  // namespace swage
