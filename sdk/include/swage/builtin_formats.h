#pragma once
#include "swage/export.h"

namespace swage {

// The manifest of the number formats that the SDK itself brings (sdk/src/format/*.format.toml), in
// TOML, as a plugin carries its own.
SWAGE_API const char* builtin_formats();

}  // namespace swage
