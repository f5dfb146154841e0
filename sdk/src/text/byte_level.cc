#include "byte_level.h"

#include <array>
#include <cstdint>

#include "unicode.h"

namespace swage::text {
namespace {

struct Tables {
  std::array<std::string, 256> char_of_byte;
  std::array<int16_t, 0x144> byte_of_char;
  Tables() {
    byte_of_char.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
      append_char(c, &char_of_byte[byte]);
      byte_of_char[c] = static_cast<int16_t>(byte);
    }
  }
};

const Tables& tables() {
  static const Tables instance;
  return instance;
}

}  // namespace

void append_byte_level(std::string_view bytes, std::string* out) {
  const Tables& table = tables();
  for (const char byte : bytes) out->append(table.char_of_byte[static_cast<unsigned char>(byte)]);
}

void append_bytes(std::string_view token, std::string* out) {
  const Tables& table = tables();
  const size_t start = out->size();
  for (size_t at = 0; at < token.size();) {
    const char32_t c = next_char(token, &at);
    if (c >= table.byte_of_char.size() || table.byte_of_char[c] < 0) {
      out->resize(start);
      out->append(token);
      return;
    }
    out->push_back(static_cast<char>(table.byte_of_char[c]));
  }
}

}  // namespace swage::text
