#include "swage/scheme.h"

#include "absl/strings/str_cat.h"
#include "typed_keys.h"

namespace swage {
namespace {

TypedKeys typed(const Scheme& scheme) { return {scheme.keys, "scheme key"}; }

}  // namespace

bool Scheme::has(std::string_view key) const { return typed(*this).has(key); }
int64_t Scheme::i64(std::string_view key) const { return typed(*this).i64(key); }
double Scheme::f64(std::string_view key) const { return typed(*this).f64(key); }
bool Scheme::flag(std::string_view key) const { return typed(*this).flag(key); }
const std::string& Scheme::text(std::string_view key) const { return typed(*this).text(key); }

bool operator==(const Scheme& a, const Scheme& b) {
  return a.format == b.format && a.keys == b.keys;
}
bool operator!=(const Scheme& a, const Scheme& b) { return !(a == b); }

Value to_value(const Scheme& scheme) {
  Value::Table table = scheme.keys;
  table["format"] = scheme.format;
  return Value(std::move(table));
}

absl::StatusOr<Scheme> scheme_from(const Value& table) {
  const std::string* const format = table["format"].text();
  if (format == nullptr || format->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a scheme is a table with the name of its format, found ",
                     table.table() == nullptr ? a_type(table) : "one without"));
  }
  Scheme scheme{*format, *table.table()};
  scheme.keys.erase("format");
  return scheme;
}

}  // namespace swage
