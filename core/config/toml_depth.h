#pragma once
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace swage {

// Levels of tables and lists, dotted keys included, that a TOML file may have. A pipeline needs
// six.
inline constexpr int kMaxTomlDepth = 32;

// InvalidArgument with file:line:column where a file goes deeper. The parser, and the trees that it
// makes, recurse on depth, so it is bounded before the parser runs. Text that is no TOML passes:
// the parser says what is wrong with it.
absl::Status check_toml_depth(std::string_view text, const std::string& origin);

}  // namespace swage
