#include "swage/printable.h"

#include <cstdint>

namespace swage {
namespace {

constexpr size_t kMost = 4000;
constexpr char kDigits[] = "0123456789abcdef";

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

bool continues(std::string_view text, size_t at) {
  return at < text.size() && (byte_at(text, at) & 0xc0) == 0x80;
}

// Bytes of the character that begins at `at`; 0 where none does that may be shown.
size_t shown_length(std::string_view text, size_t at) {
  const uint8_t first = byte_at(text, at);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const size_t length = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i) {
    if (!continues(text, at + i)) return 0;
  }
  const bool control = length == 2 && first == 0xc2 && byte_at(text, at + 1) < 0xa0;
  return control ? 0 : length;
}

void append_escaped(std::string* line, uint8_t byte) {
  if (byte == '\n') {
    *line += "\\n";
  } else if (byte == '\t') {
    *line += "\\t";
  } else {
    *line += "\\x";
    *line += kDigits[byte >> 4];
    *line += kDigits[byte & 15];
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string line;
  for (size_t at = 0; at < text.size();) {
    if (line.size() > kMost) return line + "…";
    const size_t length = shown_length(text, at);
    if (length == 0) append_escaped(&line, byte_at(text, at));
    line += text.substr(at, length);
    at += length == 0 ? 1 : length;
  }
  return line;
}

}  // namespace swage
