#pragma once
#include <string_view>

#include "lexer.h"

namespace swage::text::jinja {

// Reads a name, number or string at `*at` and moves `*at` behind it; false when there is none.
// `token->at` is its place. `source` is valid UTF-8.
bool read_literal(std::string_view source, size_t* at, Token* token);

}  // namespace swage::text::jinja
