#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace swage {

// Does the whole of `text` fit `pattern`? `*` stands for any characters, dots included, `?` for one
// character, `{a,b}` for either text (no nesting); everything else stands for itself. Time is
// bounded by pattern times text.
bool glob_match(std::string_view pattern, std::string_view text);

// Any of the patterns.
bool glob_match_any(const std::vector<std::string>& patterns, std::string_view text);

// Is the pattern short enough to be held against every name of a model?
absl::Status check_glob(std::string_view pattern);

}  // namespace swage
