#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::text {

// Adds special tokens to the ids of one text.
using PostProcessor = std::function<void(std::vector<int64_t>*)>;

// "post_processor" of tokenizer.json; null makes one that adds nothing.
absl::StatusOr<PostProcessor> make_post_processor(const Value& node);
// Puts these ids around the text's.
PostProcessor surround(std::vector<int64_t> before, std::vector<int64_t> after);

}  // namespace swage::text
