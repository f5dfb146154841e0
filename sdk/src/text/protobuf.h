#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/status.h"

namespace swage::text {

// A field of a protobuf message in wire format.
struct WireField {
  int64_t number = 0;
  uint64_t value = 0;      // of a varint, or the bits of a fixed-width number
  std::string_view bytes;  // of a text, bytes or an inner message
};

// Calls `visit` for every field in order; ends at its first error. InvalidArgument names the byte
// at which the message breaks.
absl::Status visit_fields(std::string_view message,
                          const std::function<absl::Status(const WireField&)>& visit);

}  // namespace swage::text
