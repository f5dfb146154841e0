#include "core/engine/prepared_inputs.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/engine/sequence_set.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"
#include "swage/text/data_file.h"

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

std::vector<int64_t> row_of(const at::Tensor& tensor, int64_t row) {
  const at::Tensor values = tensor[row].contiguous();
  const auto* first = values.const_data_ptr<int64_t>();
  return {first, first + values.numel()};
}

// Whole numbers [batch, tokens], as which masks are also stored as booleans or floats.
absl::StatusOr<at::Tensor> read_whole(const WeightSource& source, const std::string& name,
                                      const at::Tensor& ids) {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, source.read(name));
  at::Tensor values = stored.to(at::kLong);
  if (stored.sizes() == ids.sizes() && values.to(stored.scalar_type()).equal(stored)) return values;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" does not hold one whole number for each token of input_ids"));
}

// Each sequence without its padding.
absl::Status cut_padding(const WeightSource& source, PreparedInputs& inputs) {
  std::map<std::string, at::Tensor> beside;
  for (const char* name : {"attention_mask", "position_ids", "token_type_ids"}) {
    if (!source.has(name)) continue;
    SWAGE_ASSIGN_OR_RETURN(beside[name], read_whole(source, name, inputs.ids));
  }
  for (int64_t row = 0; row < inputs.ids.size(0); ++row) {
    text::BesideIds own;
    for (const auto& [name, values] : beside) own[name] = row_of(values, row);
    auto tokens = text::attended_tokens(row_of(inputs.ids, row), own);
    if (!tokens.ok()) return annotate(tokens.status(), absl::StrCat("sequence ", row));
    inputs.rows.push_back(*std::move(tokens));
  }
  return absl::OkStatus();
}

// A file of reference values holds what a model made of its inputs beside them.
bool is_output(const std::string& name) {
  return name == "logits" || absl::StartsWith(name, "hidden_");
}

}  // namespace

bool PreparedInputs::padded() const {
  int64_t count = 0;
  for (const auto& row : rows) count += static_cast<int64_t>(row.size());
  return count != ids.numel();
}

TokenSet PreparedInputs::sequences() const {
  TokenSet tokens;
  if (!others.empty()) tokens.inputs.push_back(others);
  tokens.sequences = rows;
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
    if (name == "input_ids" || text::is_known_beside_ids(name) || is_output(name)) continue;
    SWAGE_ASSIGN_OR_RETURN(inputs.others[name], source->read(name));
  }
  SWAGE_RETURN_IF_ERROR(annotate(cut_padding(*source, inputs), file));
  SWAGE_RETURN_IF_ERROR(annotate(check_others(inputs, model), file));
  SWAGE_RETURN_IF_ERROR(annotate(check_ids(inputs.sequences(), model.shape()), file));
  return inputs;
}

}  // namespace swage
