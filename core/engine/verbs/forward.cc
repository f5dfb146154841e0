#include <ATen/ops/cat.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/block_loader.h"
#include "core/engine/opened_model.h"
#include "core/engine/token_stream.h"
#include "core/engine/verbs/verbs.h"
#include "swage/border.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

absl::StatusOr<at::Tensor> read_ids(const std::string& file) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  for (const std::string& name : source->names()) {
    if (name == "input_ids") continue;
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": input \"", name, "\" is not known to this model; expected input_ids"));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor ids, source->read("input_ids"));
  if (ids.dim() == 2 && ids.numel() > 0 && at::isIntegralType(ids.scalar_type(), false))
    return ids.to(at::kLong);
  return absl::InvalidArgumentError(absl::StrCat(file, ": input_ids has ", ids.dim(),
                                                 " dimensions of ", at::toString(ids.scalar_type()),
                                                 ", expected integers [batch, tokens]"));
}

TokenSet rows_of(const at::Tensor& ids) {
  TokenSet tokens;
  for (int64_t row = 0; row < ids.size(0); ++row) {
    const at::Tensor sequence = ids[row].contiguous();
    const auto* first = sequence.const_data_ptr<int64_t>();
    tokens.sequences.emplace_back(first, first + sequence.numel());
  }
  return tokens;
}

// hidden_0 … hidden_L and logits, [batch, tokens, …] fp32. hidden_L is taken after the final norm.
absl::StatusOr<Tensors> forward_all(const OpenedModel& model, const at::Tensor& ids,
                                    int64_t micro_batch) {
  const SequenceSet sequences(rows_of(ids), micro_batch, model.options().device);
  Tensors outputs;
  const auto put = [&](const std::string& name, const at::Tensor& rows) {
    outputs.emplace_back(
        name, rows.to(at::kCPU, at::kFloat).view({ids.size(0), ids.size(1), -1}).clone());
  };
  TokenStream stream;
  stream.sequences = &sequences;
  SWAGE_ASSIGN_OR_RETURN(const auto embedding, model.load_embedding());
  SWAGE_RETURN_IF_ERROR(embed(*embedding, model.adapter_name(), stream));
  const std::vector<BlockId> blocks = model.blocks();
  BlockLoader loader(model, blocks, 0);
  for (size_t i = 0; i < blocks.size(); ++i) {
    put(absl::StrCat("hidden_", i), stream.hidden);
    SWAGE_ASSIGN_OR_RETURN(const auto block, loader.next());
    const View view = model.quantized() ? View::kCompressed : View::kFloat;
    SWAGE_RETURN_IF_ERROR(run_pass(*block, view, model.adapter_name(), stream));
  }
  SWAGE_ASSIGN_OR_RETURN(const auto head, model.load_head());
  SWAGE_RETURN_IF_ERROR(guarded({model.adapter_name(), "head"}, [&] {
    const at::Tensor normalized = head->normalize(stream.hidden);
    put(absl::StrCat("hidden_", blocks.size()), normalized);
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
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor ids, read_ids(arguments.input));
  SWAGE_ASSIGN_OR_RETURN(const OpenedModel model,
                         OpenedModel::open(arguments.target, catalog, loader, LoadOptions()));
  SWAGE_RETURN_IF_ERROR(
      annotate(check_ids(rows_of(ids), model.shape().vocab_size), arguments.input));
  SWAGE_ASSIGN_OR_RETURN(const Tensors outputs,
                         forward_all(model, ids, arguments.micro_batch.value_or(0)));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(arguments.output, outputs));
  return arguments.compare.empty() ? absl::OkStatus() : compare(outputs, arguments.compare);
}

}  // namespace swage
