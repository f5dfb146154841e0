#include "swage/params.h"

#include "typed_keys.h"

namespace swage {
namespace {

TypedKeys keys(const Value::Table& values) { return {values, "parameter"}; }

}  // namespace

bool Params::has(std::string_view name) const { return keys(values_).has(name); }
int64_t Params::i64(std::string_view name) const { return keys(values_).i64(name); }
double Params::f64(std::string_view name) const { return keys(values_).f64(name); }
bool Params::flag(std::string_view name) const { return keys(values_).flag(name); }
const Value& Params::value(std::string_view name) const { return keys(values_).at(name); }

const std::string& Params::text(std::string_view name) const { return keys(values_).text(name); }

std::vector<std::string> Params::texts(std::string_view name) const {
  const TypedKeys typed = keys(values_);
  const Value& value = typed.at(name);
  std::vector<std::string> result;
  for (const Value& item : typed.expect(value.list(), name, value, "a list of strings"))
    result.push_back(typed.expect(item.text(), name, item, "a string"));
  return result;
}

std::vector<double> Params::numbers(std::string_view name) const {
  const TypedKeys typed = keys(values_);
  const Value& value = typed.at(name);
  std::vector<double> result;
  for (const Value& item : typed.expect(value.list(), name, value, "a list of numbers"))
    result.push_back(typed.number(name, item));
  return result;
}

int Params::choice_index(std::string_view name,
                         std::initializer_list<std::string_view> names) const {
  const std::string& chosen = text(name);
  int index = 0;
  for (std::string_view candidate : names) {
    if (candidate == chosen) return index;
    ++index;
  }
  keys(values_).wrong(name, "is \"" + chosen + "\", which the code does not know");
}

}  // namespace swage
