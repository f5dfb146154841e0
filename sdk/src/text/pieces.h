#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "pattern.h"

namespace swage::text {

// A stretch of text cut into pieces. What lies between pieces is dropped.
struct Pieces {
  struct Range {
    size_t begin = 0, end = 0;
    bool at_start = false;  // begins where the whole text begins
  };
  std::string text;
  std::vector<Range> ranges;

  std::string_view piece(const Range& range) const {
    return std::string_view(text).substr(range.begin, range.end - range.begin);
  }
};

enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
absl::StatusOr<Behavior> behavior_named(const std::string& name);

// Cuts every piece at the finds; `invert` swaps finds and gaps.
absl::Status split(const Finder& find, Behavior behavior, bool invert, Pieces* pieces);

}  // namespace swage::text
