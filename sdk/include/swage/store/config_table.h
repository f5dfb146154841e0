#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage::store {

// A table of a foreign config.json that is read key by key. The first mistake stays, in status():
// "config.json: quantization_config.bits is 5, expected 2, 3, 4 or 8". A key that is absent or null
// gives the default.
class SWAGE_API ConfigTable {
 public:
  ConfigTable(const Value& table, std::string path);

  const absl::Status& status() const { return status_; }
  const std::string& path() const { return path_; }
  // The value under the first of these names that is there; null.
  const Value& operator[](const std::vector<std::string_view>& names) const;
  bool has(std::string_view key) const { return table_.has(key); }

  int64_t integer(const std::vector<std::string_view>& names, int64_t low, int64_t high,
                  int64_t fallback);
  int64_t integer(const std::vector<std::string_view>& names, const std::vector<int64_t>& allowed);
  bool flag(std::string_view key, bool fallback);
  std::string text(const std::vector<std::string_view>& names, std::string_view fallback);
  // Anything but null, false, "" and empty lists and tables would change what the numbers mean.
  void expect_none(std::string_view key);
  void fail(std::string_view key, const std::string& expected);

 private:
  std::string_view found_name(const std::vector<std::string_view>& names) const;

  const Value& table_;
  const std::string path_;
  absl::Status status_;
};

}  // namespace swage::store
