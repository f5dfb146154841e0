#pragma once
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/value.h"

namespace swage::text {

// Runs `make`, which reads one component of tokenizer.json; what it refuses names the component.
template <class Make>
auto named(const std::string& component, Make make) -> decltype(make()) {
  try {
    auto result = make();
    if (!result.ok()) return annotate(result.status(), component);
    return result;
  } catch (const std::invalid_argument& error) {  // a member of another type
    return absl::InvalidArgumentError(absl::StrCat(component, ": ", error.what()));
  }
}

// "is missing", or what it is instead of `wanted`.
inline std::string found_for(const Value& node, const char* key, const char* wanted) {
  const std::string name = absl::StrCat("\"", key, "\" is ");
  if (node.table() == nullptr)
    return absl::StrCat("is ", node.integer() != nullptr ? "an " : "a ", node.type_name(),
                        ", expected a table with \"", key, "\"");
  if (node[key].is_null()) return absl::StrCat(name, "missing, expected ", wanted);
  return absl::StrCat(name, node[key].integer() != nullptr ? "an " : "a ", node[key].type_name(),
                      ", expected ", wanted);
}

// The text member `key`, which must be there and not be empty.
inline const std::string& required_text(const Value& node, const char* key) {
  const std::string* text = node[key].text();
  if (text == nullptr || text->empty()) {
    throw std::invalid_argument(found_for(node, key, "a string that is not empty"));
  }
  return *text;
}

// The list member `key`; absent or of another type is an error.
inline const Value::List& required_list(const Value& node, const char* key) {
  const Value::List* list = node[key].list();
  if (list == nullptr) {
    throw std::invalid_argument(found_for(node, key, "a list"));
  }
  return *list;
}

}  // namespace swage::text
