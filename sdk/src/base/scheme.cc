#include "swage/scheme.h"

#include "absl/strings/str_cat.h"
#include "swage/params.h"

namespace swage {

bool Scheme::has(std::string_view key) const { return keys.count(key) != 0; }
int64_t Scheme::i64(std::string_view key) const { return Params(keys).i64(key); }
double Scheme::f64(std::string_view key) const { return Params(keys).f64(key); }
bool Scheme::flag(std::string_view key) const { return Params(keys).flag(key); }
const std::string& Scheme::text(std::string_view key) const {
  const auto found = keys.find(key);
  if (found == keys.end() || found->second.text() == nullptr) return Params(keys).text(key);
  return *found->second.text();
}

Value to_value(const Scheme& scheme) {
  Value::Table table = scheme.keys;
  table["format"] = scheme.format;
  return Value(std::move(table));
}

absl::StatusOr<Scheme> scheme_from(const Value& value) {
  const std::string* format = value["format"].text();
  if (value.table() == nullptr || format == nullptr)
    return absl::InvalidArgumentError("a scheme is a table with a format");
  Scheme scheme{*format, *value.table()};
  scheme.keys.erase("format");
  return scheme;
}

}  // namespace swage
