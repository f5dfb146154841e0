#pragma once
#include <map>
#include <string_view>

#include "interpreter.h"

namespace swage::text::jinja {

using Method = Value (*)(Interpreter&, const Value& self, const Call&);
using Methods = std::map<std::string_view, Method>;

// Null when values of this kind have no such method.
Method find_method(Kind kind, std::string_view name);

const Methods& text_methods();

}  // namespace swage::text::jinja
