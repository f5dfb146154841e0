#include "swage/store/config_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace swage::store {

ConfigTable::ConfigTable(const Value& table, std::string path)
    : table_(table), path_(std::move(path)) {
  if (table.table() == nullptr) fail("", "a table");
}

std::string_view ConfigTable::found_name(const std::vector<std::string_view>& names) const {
  for (const std::string_view name : names) {
    if (table_.has(name)) return name;
  }
  return names.front();
}

const Value& ConfigTable::operator[](const std::vector<std::string_view>& names) const {
  return table_[found_name(names)];
}

void ConfigTable::fail(std::string_view key, const std::string& expected) {
  if (!status_.ok()) return;
  const Value& found = key.empty() ? table_ : table_[key];
  status_ = absl::InvalidArgumentError(
      absl::StrCat("config.json: ", path_, key.empty() ? "" : ".", std::string(key), " is ",
                   to_json(found, -1).substr(0, 200), ", expected ", expected));
}

int64_t ConfigTable::integer(const std::vector<std::string_view>& names, int64_t low, int64_t high,
                             int64_t fallback) {
  const std::string_view key = found_name(names);
  if (!table_.has(key)) return fallback;
  const int64_t* const found = table_[key].integer();
  if (found != nullptr && *found >= low && *found <= high) return *found;
  fail(key, absl::StrCat(low, " to ", high));
  return fallback;
}

int64_t ConfigTable::integer(const std::vector<std::string_view>& names,
                             const std::vector<int64_t>& allowed) {
  const std::string_view key = found_name(names);
  const int64_t* const found = table_[key].integer();
  if (found != nullptr && std::find(allowed.begin(), allowed.end(), *found) != allowed.end())
    return *found;
  fail(key, absl::StrCat("one of ", absl::StrJoin(allowed, ", ")));
  return allowed.front();
}

bool ConfigTable::flag(std::string_view key, bool fallback) {
  if (!table_.has(key)) return fallback;
  if (const bool* const found = table_[key].boolean()) return *found;
  fail(key, "true or false");
  return fallback;
}

std::string ConfigTable::text(const std::vector<std::string_view>& names,
                              std::string_view fallback) {
  const std::string_view key = found_name(names);
  if (!table_.has(key)) return std::string(fallback);
  if (const std::string* const found = table_[key].text()) return *found;
  fail(key, "a text");
  return std::string(fallback);
}

void ConfigTable::expect_none(std::string_view key) {
  const Value& found = table_[key];
  const bool none = found.is_null() || found == Value(false) || found == Value("") ||
                    found == Value(Value::List()) || found == Value(Value::Table());
  if (!none) fail(key, "nothing (it is not supported)");
}

}  // namespace swage::store
