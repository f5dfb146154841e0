#pragma once
#include <functional>

#include "absl/status/statusor.h"
#include "pieces.h"
#include "swage/value.h"

namespace swage::text {

// Cuts pieces further and may rewrite their text.
using PreTokenizer = std::function<absl::Status(Pieces*)>;

// "pre_tokenizer" of tokenizer.json; null makes one that cuts nothing.
absl::StatusOr<PreTokenizer> make_pre_tokenizer(const Value& node);

// "always", "first" or "never": when Metaspace puts its mark in front. Old files have
// "add_prefix_space" instead.
absl::StatusOr<std::string> prepend_scheme(const Value& metaspace);

}  // namespace swage::text
