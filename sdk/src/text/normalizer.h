#pragma once
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::text {

// Rewrites one stretch of text in place.
using Normalizer = std::function<absl::Status(std::string*)>;

// "normalizer" of tokenizer.json; null makes one that changes nothing.
absl::StatusOr<Normalizer> make_normalizer(const Value& node);

}  // namespace swage::text
