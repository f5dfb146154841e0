#include "core/engine/prepared_inputs.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/sequence_set.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

// The inputs of a batch do not say which sequence they belong to.
absl::Status check_others(const PreparedInputs& inputs, const OpenedModel& model) {
  if (inputs.others.empty()) return absl::OkStatus();
  const std::string& name = inputs.others.begin()->first;
  if (model.shape().towers.size() == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("input \"", name, "\" is not known to this model; expected input_ids"));
  }
  if (inputs.ids.size(0) == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("input \"", name, "\" beside ", inputs.ids.size(0),
                                                 " sequences; give one sequence at a time"));
}

// A file of reference values holds what a model made of its inputs beside them.
bool is_output(const std::string& name) {
  return name == "logits" || absl::StartsWith(name, "hidden_");
}

}  // namespace

TokenSet PreparedInputs::sequences() const {
  TokenSet tokens;
  if (!others.empty()) tokens.inputs.push_back(others);
  for (int64_t row = 0; row < ids.size(0); ++row) {
    const at::Tensor sequence = ids[row].contiguous();
    const auto* first = sequence.const_data_ptr<int64_t>();
    tokens.sequences.emplace_back(first, first + sequence.numel());
  }
  return tokens;
}

absl::StatusOr<PreparedInputs> read_prepared_inputs(const std::string& file,
                                                    const OpenedModel& model) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  PreparedInputs inputs;
  SWAGE_ASSIGN_OR_RETURN(inputs.ids, source->read("input_ids"));
  if (inputs.ids.dim() != 2 || inputs.ids.numel() == 0 ||
      !at::isIntegralType(inputs.ids.scalar_type(), false)) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": input_ids has ", inputs.ids.dim(), " dimensions of ",
        at::toString(inputs.ids.scalar_type()), ", expected integers [batch, tokens]"));
  }
  inputs.ids = inputs.ids.to(at::kLong);
  for (const std::string& name : source->names()) {
    if (name == "input_ids" || name == "attention_mask" || is_output(name)) continue;
    SWAGE_ASSIGN_OR_RETURN(inputs.others[name], source->read(name));
  }
  SWAGE_RETURN_IF_ERROR(annotate(check_others(inputs, model), file));
  SWAGE_RETURN_IF_ERROR(annotate(check_ids(inputs.sequences(), model.shape()), file));
  return inputs;
}

}  // namespace swage
