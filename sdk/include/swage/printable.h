#pragma once
#include <string>
#include <string_view>

#include "swage/export.h"

namespace swage {

// One line that a terminal shows as it stands: control bytes (line feeds, escape sequences, the C1
// controls of UTF-8 among them) and bytes that are no UTF-8 become \n, \t, \x1b …; other text
// passes unchanged, and so does the result itself. Beyond 4,000 bytes the text is cut, with "…".
SWAGE_API std::string printable(std::string_view text);

}  // namespace swage
