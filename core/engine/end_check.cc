#include "core/engine/end_check.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/outcome.h"
#include "core/engine/run_setup.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::Status refused(const Step& step, const std::string& end, const std::string& why) {
  return with_exit_code(
      absl::InvalidArgumentError(absl::StrCat(step.where.text(), ": step \"", step.name,
                                              "\" takes ", end, " by its match, but ", why)),
      ExitCode::kPipeline);
}

// Ids reach the embedding, no activations.
absl::Status check_embedding(const PlannedStep& planned, const std::string& embedding) {
  const Step& step = *planned.step;
  if (!works_on(step, embedding)) return absl::OkStatus();
  const char* const remedy =
      planned.measures ? "a step of its own that measures nothing does, such as use = \"rtn\""
                       : "give it a step of its own whose activation scheme is dynamic and whose "
                         "weights take no importance";
  if (planned.needs.stream() != Stream::kNone)
    return refused(
        step, embedding,
        absl::StrCat("\"", step.use, "\" measures activations here, and none reach an embedding; ",
                     remedy));
  if (planned.needs.leaves_online_transforms())
    return refused(
        step, embedding,
        absl::StrCat("\"", step.use, "\" leaves transforms of inputs, and an embedding reads ids"));
  return absl::OkStatus();
}

// The head's logits are made piece by piece.
absl::Status check_head(const Step& step, const LinearSummary& head) {
  if (!head.activation || !head.activation->shares_tokens()) return absl::OkStatus();
  return refused(step, head.name,
                 absl::StrCat("its input would be quantized as ", head.activation->describe(),
                              ", with one scale for all tokens of a sequence, and logits are made "
                              "of some tokens at a time; take a scale per token, or a static one"));
}

// A step works on an end only where one gives it a format.
absl::Status check_untouched(const RunSetup& setup, LinearPlace place) {
  const ModelEnd* const end = setup.model->end(place);
  if (end == nullptr || end->name == setup.tied_head) return absl::OkStatus();
  for (const Step& step : setup.pipeline.steps) {
    if (works_on(step, end->name))
      return refused(step, end->name,
                     "no step gives it a format, so that nothing would be done to it; let a step "
                     "such as \"rtn\" or \"gptq\" name it as well, or leave it out");
  }
  return absl::OkStatus();
}

// Where two ends that share a matrix become different, the head gets one of its own.
absl::Status check_tied(RunSetup& setup, const Step& step, const LinearSummary& planned) {
  const ModelEnd* const head = setup.model->end(LinearPlace::kHead);
  if (head == nullptr || !head->tied || !setup.tied_head.empty()) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const bool can_untie, setup.model->can_untie(*setup.loader));
  if (!can_untie || !head->why_not.empty())
    return refused(step, planned.name,
                   "the head of this model is always tied to the embedding: its readers know one "
                   "matrix, whatever config.json says");
  const bool is_head = planned.place == LinearPlace::kHead;
  if (is_head && setup.planned_end(LinearPlace::kEmbedding) != nullptr) return absl::OkStatus();
  const std::string embedding = setup.model->end(LinearPlace::kEmbedding) != nullptr
                                    ? setup.model->end(LinearPlace::kEmbedding)->name
                                    : "the embedding";
  setup.remarks.push_back(absl::StrCat(
      head->name, " is tied to ", embedding, " and gets a matrix of its own, since step \"",
      step.name, "\" takes ", planned.name,
      is_head                                            ? "; the embedding stays as it is"
      : setup.planned_end(LinearPlace::kHead) != nullptr ? "; each is compressed for itself"
                                                         : "; the head stays as it is"));
  return absl::OkStatus();
}

}  // namespace

absl::Status check_ends(RunSetup& setup) {
  for (const LinearPlace place : {LinearPlace::kEmbedding, LinearPlace::kHead}) {
    const LinearSummary* const planned = setup.planned_end(place);
    if (planned == nullptr) {
      SWAGE_RETURN_IF_ERROR(check_untouched(setup, place));
      continue;
    }
    const Step& step = *deciding_step(setup.pipeline.steps, planned->name);
    const std::string& why_not = setup.model->end(place)->why_not;
    if (!why_not.empty()) return refused(step, planned->name, why_not);
    SWAGE_RETURN_IF_ERROR(check_tied(setup, step, *planned));
    if (place == LinearPlace::kHead) SWAGE_RETURN_IF_ERROR(check_head(step, *planned));
    if (place == LinearPlace::kHead) continue;
    for (const PlannedStep& one : setup.steps)
      SWAGE_RETURN_IF_ERROR(check_embedding(one, planned->name));
  }
  return absl::OkStatus();
}

}  // namespace swage
