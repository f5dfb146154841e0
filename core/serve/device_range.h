#pragma once
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace swage {

// Hardware as pipeline files and engine profiles name it: a family and, where its members are
// numbered, a number. "sm90" is NVIDIA's compute capability 9.0; "cpu" and "metal" have none.
struct Device {
  std::string family;
  int64_t number = -1;  // -1: none
};
absl::StatusOr<Device> parse_device(const std::string& text);
std::string text_of(const Device& device);

// "sm75+" (that and later ones), "sm80-sm89" (these and what lies between), "sm90", "cpu".
struct DeviceRange {
  Device first;
  int64_t last = -1;  // greatest number, where there are numbers
  std::string text;

  bool covers(const Device& device) const;
};
absl::StatusOr<DeviceRange> parse_device_range(const std::string& text);

}  // namespace swage
