#include <ATen/ops/cat.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/passage.h"
#include "core/engine/verbs/verbs.h"
#include "swage/border.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// What transformers' processors give: input_ids, and what else a sequence holds.
struct Inputs {
  at::Tensor ids;  // int64 [batch, tokens]
  SequenceInputs others;
};

absl::StatusOr<Inputs> read_inputs(const std::string& file) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  Inputs inputs;
  SWAGE_ASSIGN_OR_RETURN(inputs.ids, source->read("input_ids"));
  if (inputs.ids.dim() != 2 || inputs.ids.numel() == 0 ||
      !at::isIntegralType(inputs.ids.scalar_type(), false)) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": input_ids has ", inputs.ids.dim(), " dimensions of ",
        at::toString(inputs.ids.scalar_type()), ", expected integers [batch, tokens]"));
  }
  inputs.ids = inputs.ids.to(at::kLong);
  for (const std::string& name : source->names()) {
    if (name == "input_ids") continue;
    SWAGE_ASSIGN_OR_RETURN(inputs.others[name], source->read(name));
  }
  return inputs;
}

// A model of language alone knows no other inputs, and those of a batch do not say which sequence
// they belong to.
absl::Status check_inputs(const Inputs& inputs, const OpenedModel& model) {
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

TokenSet sequences_of(const Inputs& inputs) {
  const at::Tensor& ids = inputs.ids;
  TokenSet tokens;
  if (!inputs.others.empty()) tokens.inputs.push_back(inputs.others);
  for (int64_t row = 0; row < ids.size(0); ++row) {
    const at::Tensor sequence = ids[row].contiguous();
    const auto* first = sequence.const_data_ptr<int64_t>();
    tokens.sequences.emplace_back(first, first + sequence.numel());
  }
  return tokens;
}

// hidden_0 … hidden_L and logits, [batch, tokens, …] fp32. hidden_L is taken after the final norm.
absl::StatusOr<Tensors> forward_all(const OpenedModel& model, const Inputs& inputs,
                                    int64_t micro_batch) {
  const SequenceSet sequences(sequences_of(inputs), micro_batch, model.options().device);
  Tensors outputs;
  const auto put = [&](const std::string& name, const at::Tensor& rows) {
    outputs.emplace_back(
        name,
        rows.to(at::kCPU, at::kFloat).view({inputs.ids.size(0), inputs.ids.size(1), -1}).clone());
  };
  TokenStream stream;
  stream.sequences = &sequences;
  const View view = model.quantized() ? View::kCompressed : View::kFloat;
  SWAGE_RETURN_IF_ERROR(pass_through(model, view, stream, [&](const BlockId& id) {
    if (id.tower == kLanguage) put(absl::StrCat("hidden_", id.index), stream.hidden);
  }));
  SWAGE_ASSIGN_OR_RETURN(const auto head, model.load_head());
  SWAGE_RETURN_IF_ERROR(guarded({model.adapter_name(), "head"}, [&] {
    const at::Tensor normalized = head->normalize(stream.hidden);
    put(absl::StrCat("hidden_", model.shape().towers.back().block_count), normalized);
    put("logits", head->logits(normalized));
    return absl::OkStatus();
  }));
  return outputs;
}

// The largest difference of every tensor that both have.
absl::Status compare(const Tensors& outputs, const std::string& file) {
  SWAGE_ASSIGN_OR_RETURN(const auto reference, io::open_safetensors({file}));
  int64_t compared = 0;
  for (const auto& [name, tensor] : outputs) {
    if (!reference->has(name)) continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, reference->read(name));
    if (stored.sizes() != tensor.sizes()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": \"", name, "\" has another shape than what was computed"));
    }
    const at::Tensor expected = stored.to(at::kFloat);
    const double largest = (tensor - expected).abs().max().item<double>();
    std::printf("%-12s largest difference %.3e, of values up to %.3e\n", name.c_str(), largest,
                expected.abs().max().item<double>());
    ++compared;
  }
  if (compared > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": holds neither hidden states nor logits; expected hidden_0 … logits"));
}

}  // namespace

absl::Status forward(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  Loader loader(catalog);
  SWAGE_ASSIGN_OR_RETURN(const Inputs inputs, read_inputs(arguments.input));
  SWAGE_ASSIGN_OR_RETURN(const OpenedModel model,
                         OpenedModel::open(arguments.target, catalog, loader, LoadOptions()));
  SWAGE_RETURN_IF_ERROR(annotate(check_ids(sequences_of(inputs), model.shape()), arguments.input));
  SWAGE_RETURN_IF_ERROR(annotate(check_inputs(inputs, model), arguments.input));
  SWAGE_ASSIGN_OR_RETURN(const Tensors outputs,
                         forward_all(model, inputs, arguments.micro_batch.value_or(0)));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(arguments.output, outputs));
  return arguments.compare.empty() ? absl::OkStatus() : compare(outputs, arguments.compare);
}

}  // namespace swage
