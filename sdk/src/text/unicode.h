#pragma once
#include <cstdint>
#include <string>
#include <string_view>

// Unicode 14 properties (utf8proc) and UTF-8 on text that has been validated before.
namespace swage::text {

constexpr size_t kValidUtf8 = static_cast<size_t>(-1);
// Offset of the first byte that is no part of a well-formed character; kValidUtf8 when there is
// none.
size_t find_bad_utf8(std::string_view text);
// The same bytes with every maximal ill-formed part replaced by U+FFFD.
std::string replace_bad_utf8(std::string_view bytes);

// Reads the character at `*at` and moves `*at` behind it.
char32_t next_char(std::string_view text, size_t* at);
// Reads the character that ends at `end`; its own offset goes to `*begin`.
char32_t previous_char(std::string_view text, size_t end, size_t* begin);
void append_char(char32_t c, std::string* out);

bool is_white_space(char32_t c);  // property White_Space
bool is_numeric(char32_t c);      // Nd, Nl, No
bool is_punctuation(char32_t c);  // P*, and the ASCII symbols
bool is_mark(char32_t c);         // M*
bool is_word(char32_t c);         // \w of Unicode regular expressions
std::string to_lower(std::string_view text);

}  // namespace swage::text
