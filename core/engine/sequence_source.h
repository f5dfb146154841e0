#pragma once
#include <optional>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"
#include "swage/text/calibration.h"

namespace swage {

// Sequences that stand in the source as they are to run: .safetensors with what transformers'
// processor gives, or .jsonl with pictures (picture_source.h). Nothing for other sources.
absl::StatusOr<std::optional<TokenSet>> read_sequences(const text::CalibrationRequest& request,
                                                       const OpenedModel& model);

// The same, and chats: each a sequence of its own, rendered by the model's template.
absl::StatusOr<std::optional<TokenSet>> read_documents(const text::CalibrationRequest& request,
                                                       const OpenedModel& model);

}  // namespace swage
