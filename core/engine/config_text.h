#pragma once
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "swage/value.h"

namespace swage {

// `value` as JSON that is spelled as `source` spells it: what is the same keeps its text to the
// byte (order of keys, numbers, escapes, indents), what was changed is written in its place, new
// keys stand last. A source that is no table: as to_json() writes it.
std::string spelled_as(std::string_view source, const Value& value);

// Does this with the config.json of an export, after that of the checkpoint in `model`. Nothing
// where one of them has none.
absl::Status spell_config(const std::string& model, const std::string& folder);

}  // namespace swage
