#include "swage/params.h"

#include <stdexcept>

namespace swage {
namespace {

[[noreturn]] void wrong(std::string_view name, const std::string& what) {
  throw std::out_of_range("parameter \"" + std::string(name) + "\" " + what +
                          ": code and manifest disagree");
}

template <class T>
const T& expect(const T* found, std::string_view name, const Value& value, const char* wanted) {
  if (found == nullptr)
    wrong(name, std::string("is a ") + value.type_name() + ", asked for " + wanted);
  return *found;
}

}  // namespace

const Value& Params::at(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) wrong(name, "is not there");
  return it->second;
}

bool Params::has(std::string_view name) const {
  const auto it = values_.find(name);
  return it != values_.end() && !it->second.is_null();
}

int64_t Params::i64(std::string_view name) const {
  const Value& value = at(name);
  return expect(value.integer(), name, value, "an integer");
}

double Params::f64(std::string_view name) const {
  const Value& value = at(name);
  double number = 0;
  if (!value.number(&number)) expect<double>(nullptr, name, value, "a number");
  return number;
}

bool Params::flag(std::string_view name) const {
  const Value& value = at(name);
  return expect(value.boolean(), name, value, "true or false");
}

const std::string& Params::text(std::string_view name) const {
  const Value& value = at(name);
  return expect(value.text(), name, value, "a string");
}

std::vector<std::string> Params::texts(std::string_view name) const {
  const Value& value = at(name);
  std::vector<std::string> result;
  for (const Value& item : expect(value.list(), name, value, "a list of strings")) {
    result.push_back(expect(item.text(), name, item, "a string"));
  }
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
  wrong(name, "is \"" + chosen + "\", which the code does not know");
}

}  // namespace swage
