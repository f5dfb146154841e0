#include "core/engine/sequence_source.h"

#include <filesystem>
#include <fstream>

#include "core/engine/picture_source.h"
#include "core/engine/prepared_inputs.h"
#include "swage/status.h"

namespace swage {
namespace {

std::string kind_of(const std::string& file) {
  return std::filesystem::path(file).extension().string();
}

// The first line tells: texts and chats do not stand in one file.
bool holds_chats(const std::string& file) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto value = parse_json(line, file);
    return value.ok() && (value->has("messages") || value->has("conversations"));
  }
  return false;
}

}  // namespace

absl::StatusOr<std::optional<TokenSet>> read_sequences(const text::CalibrationRequest& request,
                                                       const OpenedModel& model) {
  const std::string kind = kind_of(request.source);
  if (kind == ".safetensors") {
    SWAGE_ASSIGN_OR_RETURN(const PreparedInputs inputs,
                           read_prepared_inputs(request.source, model));
    return inputs.sequences();
  }
  if (kind != ".jsonl" || model.shape().image_token < 0) return std::nullopt;
  SWAGE_ASSIGN_OR_RETURN(const bool pictures, holds_pictures(request.source));
  if (!pictures) return std::nullopt;
  return draw_pictures(request, model);
}

absl::StatusOr<std::optional<TokenSet>> read_documents(const text::CalibrationRequest& request,
                                                       const OpenedModel& model) {
  SWAGE_ASSIGN_OR_RETURN(std::optional<TokenSet> set, read_sequences(request, model));
  if (set || kind_of(request.source) != ".jsonl" || !holds_chats(request.source)) return set;
  text::CalibrationRequest chats = request;
  chats.recipe = "whole";
  SWAGE_ASSIGN_OR_RETURN(const auto tokenizer, model.tokenizer());
  return text::draw_calibration(chats, tokenizer.get(), model.shape().vocab_size,
                                model.chat_template());
}

}  // namespace swage
