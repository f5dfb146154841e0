#pragma once
#include <string>

#include "absl/status/status.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"

namespace swage {

// Tokens that stand for pictures, video or sound: in a sequence that has none they would count as
// text, and a model would be measured on what it never sees. InvalidArgument names the line of
// `source`, or sequence and place where the source has no lines.
absl::Status check_placeholders(const TokenSet& tokens, const OpenedModel& model,
                                const std::string& source);

}  // namespace swage
