#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage {

// Linear::kept_by of routers and of gates of shared experts: small, and an error changes which
// experts a token takes.
inline constexpr const char* kRouterRule = "a router keeps its precision";

struct SWAGE_API Scheme {
  std::string format = "int";
  Value::Table keys;

  bool has(std::string_view key) const;
  int64_t i64(std::string_view key) const;
  double f64(std::string_view key) const;
  bool flag(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  friend bool operator==(const Scheme& a, const Scheme& b) {
    return a.format == b.format && a.keys == b.keys;
  }
  friend bool operator!=(const Scheme& a, const Scheme& b) { return !(a == b); }
};
SWAGE_API Value to_value(const Scheme& scheme);
SWAGE_API absl::StatusOr<Scheme> scheme_from(const Value& value);

}  // namespace swage
