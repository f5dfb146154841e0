#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

#include "swage/value.h"

namespace swage {

// "an integer", "a table": what a message calls a value's type.
inline std::string a_type(const Value& value) {
  return std::string(value.integer() != nullptr ? "an " : "a ") + value.type_name();
}

// Typed members of a table that was checked against a manifest before. A name or type that does not
// fit is a bug, not bad input, and throws std::out_of_range.
class TypedKeys {
 public:
  // `what` begins messages: "parameter".
  TypedKeys(const Value::Table& values, const char* what) : values_(values), what_(what) {}

  const Value& at(std::string_view name) const {
    const auto it = values_.find(name);
    if (it == values_.end()) wrong(name, "is not there");
    return it->second;
  }
  bool has(std::string_view name) const {
    const auto it = values_.find(name);
    return it != values_.end() && !it->second.is_null();
  }
  int64_t i64(std::string_view name) const {
    return expect(at(name).integer(), name, at(name), "an integer");
  }
  double f64(std::string_view name) const { return number(name, at(name)); }
  bool flag(std::string_view name) const {
    return expect(at(name).boolean(), name, at(name), "true or false");
  }
  const std::string& text(std::string_view name) const {
    return expect(at(name).text(), name, at(name), "a string");
  }

  double number(std::string_view name, const Value& value) const {
    double number = 0;
    return expect(value.number(&number) ? &number : nullptr, name, value, "a number");
  }
  template <class T>
  const T& expect(const T* found, std::string_view name, const Value& value,
                  const char* wanted) const {
    if (found == nullptr) wrong(name, "is " + a_type(value) + ", asked for " + wanted);
    return *found;
  }
  [[noreturn]] void wrong(std::string_view name, const std::string& text) const {
    throw std::out_of_range(std::string(what_) + " \"" + std::string(name) + "\" " + text +
                            ": code and manifest disagree");
  }

 private:
  const Value::Table& values_;
  const char* what_;
};

}  // namespace swage
