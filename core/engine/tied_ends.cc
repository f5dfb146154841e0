#include "core/engine/tied_ends.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/outcome.h"
#include "core/engine/run_setup.h"
#include "swage/status.h"

namespace swage {
namespace {

using Planned = std::vector<LinearSummary>;

Planned::iterator compressed_end(Planned& planned, LinearPlace place) {
  return std::find_if(planned.begin(), planned.end(), [&](const LinearSummary& linear) {
    return linear.place == place && linear.kept_by.empty();
  });
}

// Nothing is asked of the head but what becomes of the embedding.
bool same_wish(const std::vector<Step>& steps, const LinearSummary& embedding,
               const std::string& head, const LinearSummary* planned) {
  if (planned != nullptr)
    return deciding_step(steps, head) == deciding_step(steps, embedding.name) &&
           planned->weight->scheme() == embedding.weight->scheme() && !planned->activation;
  return std::none_of(steps.begin(), steps.end(), [&](const Step& step) {
    return step.takes_weight && scheme_for(step, head).applies;  // keep = true
  });
}

}  // namespace

absl::Status keep_tied(RunSetup& setup) {
  const ModelEnd* const head = setup.model->end(LinearPlace::kHead);
  const auto embedding = compressed_end(setup.planned, LinearPlace::kEmbedding);
  if (head == nullptr || !head->tied || embedding == setup.planned.end() || embedding->activation)
    return absl::OkStatus();
  const auto planned = compressed_end(setup.planned, LinearPlace::kHead);
  const bool asked = planned != setup.planned.end();
  if (!same_wish(setup.pipeline.steps, *embedding, head->name, asked ? &*planned : nullptr))
    return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const bool changed,
                         changes_ends(setup.steps, *setup.model, *setup.loader));
  if (changed) return absl::OkStatus();
  setup.tied_head = head->name;
  const Step* const step = deciding_step(setup.pipeline.steps, embedding->name);
  if (step != nullptr)
    setup.remarks.push_back(absl::StrCat(head->name, " is tied to ", embedding->name,
                                         " and reads what step \"", step->name, "\" makes of it"));
  if (asked) setup.planned.erase(planned);
  return absl::OkStatus();
}

absl::StatusOr<Planned> planned_for(RunSetup& setup, const ExportWriter& writer, Planned planned) {
  if (setup.tied_head.empty() || writer.ties()) return planned;
  const auto embedding = compressed_end(planned, LinearPlace::kEmbedding);
  SWAGE_CHECK(embedding != planned.end());
  SWAGE_ASSIGN_OR_RETURN(const bool can_untie, setup.model->can_untie(*setup.loader));
  if (!can_untie)
    return with_exit_code(
        absl::InvalidArgumentError(absl::StrCat(
            writer.spec().where.text(), ": ", embedding->name,
            " is compressed, and the head of this model is always tied to it: readers of \"",
            writer.spec().use, "\" take a compressed embedding and a head of its own only; leave ",
            embedding->name,
            " out of the steps, or take an exporter whose readers know one matrix for both ends")),
        ExitCode::kPipeline);
  setup.remarks.push_back(absl::StrCat("export \"", writer.spec().name, "\": holds the matrix of ",
                                       embedding->name,
                                       " twice, since its readers take no "
                                       "compressed one for both ends"));
  add_own_head(setup, writer, &planned);
  return planned;
}

void add_own_head(const RunSetup& setup, const ExportWriter& writer, Planned* linears) {
  if (setup.tied_head.empty() || writer.ties()) return;
  LinearSummary head = *compressed_end(*linears, LinearPlace::kEmbedding);
  head.name = setup.tied_head;
  head.place = LinearPlace::kHead;
  linears->push_back(std::move(head));
}

}  // namespace swage
