#pragma once
#include <string>
#include <string_view>

#include "value.h"

namespace swage::text::jinja {

// json.loads(); `name` stands in front of what is wrong with the text.
Value read_json(Budget* budget, std::string_view text, std::string_view name);

// json.dumps() with its parameters.
struct JsonStyle {  // texts are the caller's
  bool ascii_only = false;
  bool sorted = false;
  bool has_indent = false;
  std::string_view indent;
  std::string_view item_separator = ", ", key_separator = ": ";
};
void append_json(const Value& value, const JsonStyle& style, Builder* out);

}  // namespace swage::text::jinja
