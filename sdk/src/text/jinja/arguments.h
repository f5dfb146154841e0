#pragma once
#include <initializer_list>
#include <optional>
#include <string_view>

#include "value.h"

namespace swage::text::jinja {

struct Parameter {
  const char* name;
  std::optional<Value> fallback = std::nullopt;  // nullopt = must be given
};

// The arguments of a call in the order of the parameters. `what` is called, for error messages.
Items bind(std::string_view what, const Call& call, std::initializer_list<Parameter> parameters);

// Fail with the name of the parameter when the value has another type.
const std::string& text_argument(std::string_view name, const Value& value);
int64_t integer_argument(std::string_view name, const Value& value);

}  // namespace swage::text::jinja
