#pragma once
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"
#include "swage/text/calibration.h"

namespace swage {

// What a source turned out to be, beside its sequences.
struct SourceNotes {
  std::string kind;                  // "text", "chats with pictures" …
  std::vector<std::string> remarks;  // what a user should know
};

// The sequences of a calibration, whatever kind of file it is.
absl::StatusOr<TokenSet> calibration_sequences(const text::CalibrationRequest& request,
                                               const OpenedModel& model, SourceNotes* notes);

// Sequences that stand in the source as they are to run: tensors as transformers' processor gives
// them, lines with pictures (picture_source.h), and chats, each rendered by the model's template.
// Nothing for running text and token ids.
absl::StatusOr<std::optional<TokenSet>> read_documents(const text::CalibrationRequest& request,
                                                       const OpenedModel& model,
                                                       SourceNotes* notes);

}  // namespace swage
