#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage {

// A tree of plain values: what a TOML table, a JSON object or a parameter set becomes once it is
// read. The one data type for configuration that crosses the plugin border. Tables keep their keys
// sorted.
class SWAGE_API Value {
 public:
  using List = std::vector<Value>;
  using Table = std::map<std::string, Value, std::less<>>;

  Value() = default;  // null
  Value(bool v) : data_(v) {}
  Value(int v) : data_(int64_t{v}) {}
  Value(int64_t v) : data_(v) {}
  Value(double v) : data_(v) {}
  Value(const char* v) : data_(std::string(v)) {}
  Value(std::string v) : data_(std::move(v)) {}
  Value(List v) : data_(std::move(v)) {}
  Value(Table v) : data_(std::move(v)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  // Null when the value holds another type. `number` also serves an integer as a double.
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const std::string* text() const { return std::get_if<std::string>(&data_); }
  const List* list() const { return std::get_if<List>(&data_); }
  const Table* table() const { return std::get_if<Table>(&data_); }
  List* list() { return std::get_if<List>(&data_); }
  Table* table() { return std::get_if<Table>(&data_); }
  bool number(double* out) const;

  // Member of a table; a null value when this is no table or has no such key.
  const Value& operator[](std::string_view key) const;
  bool has(std::string_view key) const { return !(*this)[key].is_null(); }

  // Typed members of a table with a default for an absent or null key. A key of another type throws
  // std::invalid_argument that names it (the border turns it into a status).
  int64_t i64(std::string_view key, int64_t fallback) const;
  double f64(std::string_view key, double fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::string str(std::string_view key, std::string_view fallback) const;

  // "table", "integer" …, for error messages.
  const char* type_name() const;
  friend bool operator==(const Value& a, const Value& b) { return a.data_ == b.data_; }
  friend bool operator!=(const Value& a, const Value& b) { return !(a == b); }

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Table> data_;
};

// JSON text to a tree and back. Errors name line and column; depth is limited to 128. Output is
// deterministic: keys sorted, doubles with the shortest text that reads back equal.
SWAGE_API absl::StatusOr<Value> parse_json(std::string_view text, std::string_view origin);
SWAGE_API std::string to_json(const Value& value, int indent = 2);

}  // namespace swage
