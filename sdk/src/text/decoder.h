#pragma once
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::text {

// Rewrites the tokens of a text; joined, the last one's are the text.
using Decoder = std::function<void(std::vector<std::string>*)>;

// "decoder" of tokenizer.json; null makes one that joins tokens with spaces.
absl::StatusOr<Decoder> make_decoder(const Value& node);

}  // namespace swage::text
