#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/block.h"

namespace swage::nn {

// An input of a sequence, integers of this shape, as int64; leading dimensions may be left out.
absl::StatusOr<at::Tensor> integers_of(const Slots& slots, const std::string& name,
                                       const std::vector<int64_t>& shape);

// Beside kFeatures: what the tokens of a sequence see of them.
// int64 [tokens, 2]: row of the sequence's table, and 1 where the token sees an image.
inline constexpr std::string_view kSight = "tower.sight";
// Put aside. bool: tables of all sequences, each [rows, features]; int64 [sequences, 2]: their
// sizes.
inline constexpr std::string_view kSightTables = "tower.sight.tables";
inline constexpr std::string_view kSightSizes = "tower.sight.sizes";

}  // namespace swage::nn
