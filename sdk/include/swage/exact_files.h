#pragma once
#include <string_view>

namespace swage {

// What an exporter answers query(kExactFiles) with (anything but null) where its decode() gives
// back every bit of each result and parameter that encode() took. Verification then accepts nothing
// less, and the run need not remember the values of its results beside their bits. Any other one
// may store the same values in another form, or rounded once, which the verdict then says.
inline constexpr std::string_view kExactFiles = "exact-files/1";

}  // namespace swage
