#include "swage/value.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "json_text.h"
#include "swage/key_log.h"

namespace swage {
namespace {

constexpr int kMaxDepth = 128;  // a hostile file must not exhaust the stack
const Value kNull;
thread_local KeyLog* key_log = nullptr;

template <class T>
const T& expect(const T* found, std::string_view key, const Value& value, const char* wanted) {
  if (found == nullptr) {
    const char* const article = value.integer() != nullptr ? "an " : "a ";
    throw std::invalid_argument("\"" + std::string(key) + "\" is " + article + value.type_name() +
                                ", expected " + wanted);
  }
  return *found;
}

absl::StatusOr<Value> from_json(const nlohmann::json& node, int depth) {
  if (depth > kMaxDepth) return absl::InvalidArgumentError("nested deeper than 128 levels");
  switch (node.type()) {
    case nlohmann::json::value_t::boolean:
      return Value(node.get<bool>());
    case nlohmann::json::value_t::number_integer:
      return Value(node.get<int64_t>());
    case nlohmann::json::value_t::number_unsigned: {
      const uint64_t number = node.get<uint64_t>();
      return number > uint64_t{INT64_MAX} ? Value(static_cast<double>(number))
                                          : Value(static_cast<int64_t>(number));
    }
    case nlohmann::json::value_t::number_float:
      return Value(node.get<double>());
    case nlohmann::json::value_t::string:
      return Value(node.get<std::string>());
    case nlohmann::json::value_t::array: {
      Value::List list;
      list.reserve(node.size());
      for (const auto& item : node) {
        auto value = from_json(item, depth + 1);
        if (!value.ok()) return value.status();
        list.push_back(*std::move(value));
      }
      return Value(std::move(list));
    }
    case nlohmann::json::value_t::object: {
      Value::Table table;
      for (auto it = node.begin(); it != node.end(); ++it) {
        auto value = from_json(it.value(), depth + 1);
        if (!value.ok()) return value.status();
        table.emplace(it.key(), *std::move(value));
      }
      return Value(std::move(table));
    }
    default:
      return Value();
  }
}

nlohmann::json to_node(const Value& value) {
  if (const bool* v = value.boolean()) return *v;
  if (const int64_t* v = value.integer()) return *v;
  if (const std::string* v = value.text()) return *v;
  if (const Value::List* list = value.list()) {
    auto node = nlohmann::json::array();
    for (const Value& item : *list) node.push_back(to_node(item));
    return node;
  }
  if (const Value::Table* table = value.table()) {
    auto node = nlohmann::json::object();
    for (const auto& [key, item] : *table) node[key] = to_node(item);
    return node;
  }
  double number = 0;
  return value.number(&number) ? nlohmann::json(number) : nlohmann::json(nullptr);
}

// The parser recurses on depth itself, so depth is bounded before it runs.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

std::string position(std::string_view text, size_t byte) {
  int line = 1, column = 1;
  for (size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    if (text[i] == '\n')
      ++line, column = 1;
    else
      ++column;
  }
  return absl::StrCat(line, ":", column);
}

std::string_view around(std::string_view text, size_t byte) {
  return text.substr(std::min(text.size(), byte > 10 ? byte - 10 : 0), 20);
}

// Files that are something else than what they are called.
const char* other_kind(std::string_view text) {
  const auto begins = [&](std::string_view start) { return text.substr(0, start.size()) == start; };
  if (begins("version https://git-lfs.github.com/spec/"))
    return "is a pointer of Git LFS, not the file itself; fetch it: git lfs pull";
  if (begins("<!doctype") || begins("<!DOCTYPE") || begins("<html") || begins("<?xml"))
    return "is a page in HTML or XML; fetch the file again";
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return "is empty, expected JSON";
  return nullptr;
}

}  // namespace

bool Value::number(double* out) const {
  if (const double* v = std::get_if<double>(&data_)) return *out = *v, true;
  if (const int64_t* v = std::get_if<int64_t>(&data_)) return *out = static_cast<double>(*v), true;
  return false;
}

KeyLog::KeyLog() : outer_(key_log) { key_log = this; }

KeyLog::~KeyLog() { key_log = outer_; }

const Value& Value::operator[](std::string_view key) const {
  if (key_log != nullptr) key_log->add(key);
  const Table* members = table();
  if (members == nullptr) return kNull;
  const auto it = members->find(key);
  return it == members->end() ? kNull : it->second;
}

int64_t Value::i64(std::string_view key, int64_t fallback) const {
  const Value& value = (*this)[key];
  return value.is_null() ? fallback : expect(value.integer(), key, value, "an integer");
}

double Value::f64(std::string_view key, double fallback) const {
  const Value& value = (*this)[key];
  double number = fallback;
  if (!value.is_null() && !value.number(&number)) expect<double>(nullptr, key, value, "a number");
  return number;
}

bool Value::flag(std::string_view key, bool fallback) const {
  const Value& value = (*this)[key];
  return value.is_null() ? fallback : expect(value.boolean(), key, value, "true or false");
}

std::string Value::str(std::string_view key, std::string_view fallback) const {
  const Value& value = (*this)[key];
  return value.is_null() ? std::string(fallback) : expect(value.text(), key, value, "a string");
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"null",   "boolean", "integer", "float",
                                           "string", "list",    "table"};
  return kNames[data_.index()];
}

absl::StatusOr<Value> parse_json(std::string_view text, std::string_view origin) {
  const std::string name(origin);
  if (too_deep(text))
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": nested deeper than ", kMaxDepth, " levels"));
  try {
    auto value = from_json(nlohmann::json::parse(text.begin(), text.end()), 0);
    if (!value.ok())
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", value.status().message()));
    return value;
  } catch (const nlohmann::json::parse_error& error) {
    if (const char* other = other_kind(text))
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", other));
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", position(text, error.byte), ": this is not valid JSON (",
                     json_problem(error.what(), around(text, error.byte)), ")"));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": this is not valid JSON (", json_problem(error.what(), ""), ")"));
  }
}

std::string to_json(const Value& value, int indent) {
  return to_node(value).dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace swage
