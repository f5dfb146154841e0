#include "arguments.h"

#include <algorithm>

namespace swage::text::jinja {

Items bind(std::string_view what, const Call& call, std::initializer_list<Parameter> parameters) {
  if (call.positional.size() > parameters.size()) {
    fail(what, "() takes at most ", parameters.size(), " arguments (", call.positional.size(),
         " given)");
  }
  for (const auto& [name, unused] : call.named) {
    const auto has_name = [&name = name](const Parameter& p) { return name == p.name; };
    if (std::none_of(parameters.begin(), parameters.end(), has_name)) {
      fail(what, "() got an unexpected keyword argument '", name, "'");
    }
  }
  Items bound;
  for (const Parameter& parameter : parameters) {
    const auto named = std::find_if(call.named.begin(), call.named.end(), [&](const auto& entry) {
      return entry.first == parameter.name;
    });
    if (bound.size() < call.positional.size()) {
      if (named != call.named.end()) {
        fail(what, "() got multiple values for argument '", parameter.name, "'");
      }
      bound.push_back(call.positional[bound.size()]);
    } else if (named != call.named.end()) {
      bound.push_back(named->second);
    } else if (parameter.fallback) {
      bound.push_back(*parameter.fallback);
    } else {
      fail(what, "() misses the argument '", parameter.name, "'");
    }
  }
  return bound;
}

const std::string& text_argument(std::string_view name, const Value& value) {
  if (value.is(Kind::kUndefined)) fail(value.undefined_message());
  if (!value.is(Kind::kString)) fail(name, " must be str, not ", value.type_name());
  return value.text();
}

int64_t integer_argument(std::string_view name, const Value& value) {
  if (value.is(Kind::kUndefined)) fail(value.undefined_message());
  if (!value.is_integer()) fail(name, " must be int, not ", value.type_name());
  return value.integer();
}

}  // namespace swage::text::jinja
