#pragma once
#include <string>

#include "value.h"

namespace swage::text::jinja {

// Python's str() and repr().
void append_str(const Value& value, Builder* out);
void append_repr(const Value& value, Builder* out);
std::string float_repr(double value);

// str() as a text; shares the text of a value that is one.
Value to_text(Budget* budget, const Value& value);

}  // namespace swage::text::jinja
