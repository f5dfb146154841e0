#include "core/engine/sequence_source.h"

#include "absl/strings/str_cat.h"
#include "core/engine/picture_source.h"
#include "core/engine/placeholders.h"
#include "core/engine/prepared_inputs.h"
#include "swage/status.h"
#include "swage/text/data_file.h"

namespace swage {
namespace {

using text::DataFile;
using text::DataKind;

// Files that hold sequences as they are to run, of any model; nothing for texts, chats and ids.
absl::StatusOr<std::optional<TokenSet>> read_sequences(const DataFile& file,
                                                       const text::CalibrationRequest& request,
                                                       const OpenedModel& model,
                                                       SourceNotes* notes) {
  notes->kind = text::name_of(file.kind);
  notes->remarks = file.remarks;
  if (file.kind == DataKind::kTensors) {
    SWAGE_ASSIGN_OR_RETURN(const PreparedInputs inputs, read_prepared_inputs(file.path, model));
    return inputs.sequences();
  }
  if (!file.is_lines || file.kind == DataKind::kIds || model.shape().image_token < 0)
    return std::nullopt;
  SWAGE_ASSIGN_OR_RETURN(const bool pictures, holds_pictures(file));
  if (!pictures) return std::nullopt;
  notes->kind += " with pictures";
  return draw_pictures(file, request, model, &notes->remarks);
}

absl::StatusOr<TokenSet> draw_text(const text::CalibrationRequest& request,
                                   const OpenedModel& model, DataKind kind) {
  std::unique_ptr<text::Tokenizer> tokenizer;
  if (kind != DataKind::kIds) {
    SWAGE_ASSIGN_OR_RETURN(tokenizer, model.tokenizer());
  }
  return text::draw_calibration(request, tokenizer.get(), model.shape().vocab_size,
                                model.chat_template());
}

}  // namespace

absl::StatusOr<TokenSet> calibration_sequences(const text::CalibrationRequest& request,
                                               const OpenedModel& model, SourceNotes* notes) {
  SWAGE_ASSIGN_OR_RETURN(const DataFile file, text::read_data_file(request.source));
  SWAGE_ASSIGN_OR_RETURN(std::optional<TokenSet> set, read_sequences(file, request, model, notes));
  if (!set) {
    SWAGE_ASSIGN_OR_RETURN(set, draw_text(request, model, file.kind));
  }
  SWAGE_RETURN_IF_ERROR(check_placeholders(*set, model, request.source));
  return *std::move(set);
}

absl::StatusOr<std::optional<TokenSet>> read_documents(const text::CalibrationRequest& request,
                                                       const OpenedModel& model,
                                                       SourceNotes* notes) {
  SWAGE_ASSIGN_OR_RETURN(const DataFile file, text::read_data_file(request.source));
  SWAGE_ASSIGN_OR_RETURN(std::optional<TokenSet> set, read_sequences(file, request, model, notes));
  if (set || file.kind != DataKind::kChats) return set;
  text::CalibrationRequest chats = request;
  chats.recipe = "whole";
  SWAGE_ASSIGN_OR_RETURN(set, draw_text(chats, model, file.kind));
  return set;
}

}  // namespace swage
