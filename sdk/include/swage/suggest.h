#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "swage/export.h"

namespace swage {

// The known word that `word` was most likely meant to be: fewest edits (insert, drop, replace, swap
// neighbours), case and
// '-'/'_' ignored, at most a third of the letters; a known word that starts with `word` counts as
// near. "" when none is. Ties go to the earlier one.
SWAGE_API std::string nearest(std::string_view word, const std::vector<std::string>& known);

// "; did you mean "bits"?" or, when nothing is near, "; known are bits, format, group".
SWAGE_API std::string suggestion(std::string_view word, const std::vector<std::string>& known);

}  // namespace swage
