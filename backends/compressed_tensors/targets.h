#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// How the entries of `targets` and `ignore` name linears: by module name, by a regular expression
// behind "re:" that matches from the name's start (Python's re.match), or by the class "Linear".
namespace swage::compressed_tensors {

enum class Match { kNone, kClass, kRegex, kExact };  // the greater one wins

// InvalidArgument: a regular expression that is not understood or too large to be safe.
absl::StatusOr<Match> match(const std::string& target, const std::string& linear);
// The best match among several.
absl::StatusOr<Match> match_any(const std::vector<std::string>& targets, const std::string& linear);

// For each set of names the targets that match all of its names and none of another set. Names that
// differ in numbers only share one expression where no other set has such a name.
std::vector<std::vector<std::string>> make_targets(
    const std::vector<std::vector<std::string>>& sets);

// Expressions for modules all of whose linears are kept, such as a vision tower, wherever they
// hang: readers may put another path in front of a module, or name what lies in it otherwise. They
// match no linear of `compressed`.
std::vector<std::string> whole_modules(const std::vector<std::string>& kept,
                                       const std::vector<std::string>& compressed);

}  // namespace swage::compressed_tensors
