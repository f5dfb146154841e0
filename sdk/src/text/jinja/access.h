#pragma once
#include <string_view>

#include "interpreter.h"

namespace swage::text::jinja {

// value.name: a method or member, else the entry of a dict, else undefined.
Value attribute(Interpreter& interpreter, const Value& value, std::string_view name);
// value[key]: an entry or element, else a method or member, else undefined.
Value item(Interpreter& interpreter, const Value& value, const Value& key);
// value[start:stop:step]; None stands for what is left out.
Value slice(Budget* budget, const Value& value, const Value& start, const Value& stop,
            const Value& step);
// Walks a path like "function.arguments.0", as filters with an attribute do.
Value item_at_path(Interpreter& interpreter, const Value& value, const Value& path);

}  // namespace swage::text::jinja
