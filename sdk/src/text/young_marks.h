#pragma once

namespace swage::text {

// Marks and decomposable characters that came after Unicode 9. The `tokenizers` library normalizes
// by the tables of Unicode 9, where these are plain characters: nothing is reordered across them,
// composed with them or taken away.
bool is_young_mark(char32_t c);

}  // namespace swage::text
