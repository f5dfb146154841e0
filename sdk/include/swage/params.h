#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "swage/value.h"

namespace swage {

// The checked parameters of one component: every key of its manifest is present, typed, within its
// bounds and defaulted. Asking for a key that the manifest lacks, or with the wrong type, throws
// std::out_of_range: a bug of the plugin, which the border reports with the plugin's name.
class SWAGE_API Params {
 public:
  Params() = default;
  explicit Params(Value::Table values) : values_(std::move(values)) {}

  bool has(std::string_view name) const;  // present and not null
  int64_t i64(std::string_view name) const;
  double f64(std::string_view name) const;
  bool flag(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  std::vector<double> numbers(std::string_view name) const;
  const Value& value(std::string_view name) const;  // whatever its type: tables are read so

  // A `choice` parameter as an enum: names are listed in the order of the enumerators.
  template <class E>
  E choice(std::string_view name, std::initializer_list<std::string_view> names) const {
    return static_cast<E>(choice_index(name, names));
  }

  const Value::Table& values() const { return values_; }

 private:
  int choice_index(std::string_view name, std::initializer_list<std::string_view> names) const;
  Value::Table values_;
};

}  // namespace swage
