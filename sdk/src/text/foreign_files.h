#pragma once
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// Files that are no text, and names that promise none.
namespace swage::text {

// InvalidArgument where the first bytes are those of a packed, binary or table file: says what it
// is and how to make text of it.
absl::Status check_foreign(const std::string& path, absl::string_view head);
// InvalidArgument where `ending` (lower case) is one of another format than running text.
absl::Status check_text_ending(const std::string& path, const std::string& ending);
// Endings that running text has.
bool is_plain_ending(const std::string& ending);

}  // namespace swage::text
