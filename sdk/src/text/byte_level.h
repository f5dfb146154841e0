#pragma once
#include <string>
#include <string_view>

// The printable stand-ins of bytes that byte-level vocabularies are written in.
namespace swage::text {

// Appends the stand-in of every byte.
void append_byte_level(std::string_view bytes, std::string* out);
// Appends the bytes that a token stands for, or the token itself when some character of it stands
// for no byte.
void append_bytes(std::string_view token, std::string* out);

}  // namespace swage::text
