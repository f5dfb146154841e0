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

// How numbers are stored: the name of a format and the values of its keys, as the format's manifest
// declares them. What a TOML table `weight` or `activation` becomes: every key of the format whose
// condition holds is there, typed, within its bounds and defaulted; the others are absent.
struct SWAGE_API Scheme {
  std::string format = "int";
  Value::Table keys;

  bool has(std::string_view key) const;
  // As those of Params: a key that is not there or has another type throws std::out_of_range.
  int64_t i64(std::string_view key) const;
  double f64(std::string_view key) const;
  bool flag(std::string_view key) const;
  const std::string& text(std::string_view key) const;
};
SWAGE_API bool operator==(const Scheme& a, const Scheme& b);
SWAGE_API bool operator!=(const Scheme& a, const Scheme& b);

// One table, {"format": "int", "bits": 4, …}, and back. What is read back was written by
// to_value(): only its shape is checked, not what the format's manifest says of keys.
SWAGE_API Value to_value(const Scheme& scheme);
SWAGE_API absl::StatusOr<Scheme> scheme_from(const Value& table);

}  // namespace swage
