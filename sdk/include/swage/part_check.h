#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "swage/codec.h"
#include "swage/export.h"

namespace swage {

// Checks of the parts of a result, for Codec::do_validate: InvalidArgument names the part, what it
// is and what was expected.
class SWAGE_API PartCheck {
 public:
  explicit PartCheck(const Parts& parts) : parts_(parts) {}  // outlives the object

  absl::Status wrong(std::string_view name, const std::string& found,
                     const std::string& expected) const;
  absl::Status shape(std::string_view name, at::IntArrayRef sizes) const;
  absl::Status type(std::string_view name, at::ScalarType expected) const;
  absl::Status finite(std::string_view name) const;
  absl::Status within(std::string_view name, int64_t low, int64_t high) const;
  // Every byte of the part is a code that has a value: values[code] is no NaN.
  absl::Status codes_of(std::string_view name, const float* values) const;
  // No part but these ("" stands for none).
  absl::Status only(std::initializer_list<std::string_view> known) const;

 private:
  const Parts& parts_;
};

}  // namespace swage
