#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/passage.h"
#include "core/engine/prepared_inputs.h"
#include "core/engine/verbs/verbs.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/io/safetensors.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// hidden_0 … hidden_L and logits, [batch, tokens, …] fp32. hidden_L is taken after the final norm.
absl::StatusOr<Tensors> forward_all(const OpenedModel& model, const PreparedInputs& inputs,
                                    int64_t micro_batch) {
  // The scale of a whole tensor, taken as it comes, is one of a sequence.
  const SequenceSet sequences(inputs.sequences(), model.quantized() ? 1 : micro_batch,
                              model.options().device);
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
  SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(model.adapter_name(), "head"), [&] {
    const at::Tensor normalized = head->normalize(stream.hidden);
    put(absl::StrCat("hidden_", model.shape().towers.back().block_count), normalized);
    put("logits", head->logits(normalized));
    return absl::OkStatus();
  }));
  return outputs;
}

// The largest difference of every tensor that both have. One beyond the tolerance (a NaN is beyond
// all) is an error that names the tensors.
absl::Status compare(const Tensors& outputs, const std::string& file,
                     const std::optional<double>& tolerance) {
  SWAGE_ASSIGN_OR_RETURN(const auto reference, io::open_safetensors({file}));
  int64_t compared = 0;
  std::vector<std::string> beyond;
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
    if (tolerance && !(largest <= *tolerance))
      beyond.push_back(absl::StrFormat("%s by up to %.3e", name, largest));
    ++compared;
  }
  if (!beyond.empty())
    return with_exit_code(absl::DataLossError(absl::StrCat(
                              file, ": what was computed differs by more than --tolerance ",
                              *tolerance, ": ", absl::StrJoin(beyond, ", "))),
                          ExitCode::kVerdictFailed);
  if (compared > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": holds neither hidden states nor logits; expected hidden_0 … logits"));
}

// The output is written over nothing that this verb reads.
absl::Status check_output(const Arguments& arguments) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path output = fs::weakly_canonical(arguments.output, error);
  const fs::path model = fs::weakly_canonical(arguments.target, error);
  bool is_input = output == model;
  if (output.parent_path() == model && fs::exists(output, error)) {
    // Outputs of before may lie in the model's folder; its weights, and all that is no weights,
    // not.
    is_input = output.extension() != ".safetensors";
    if (const auto files = io::checkpoint_files(arguments.target); files.ok()) {
      for (const std::string& file : *files) is_input |= fs::equivalent(file, output, error);
    }
  }
  for (const std::string& read : {arguments.input, arguments.compare})
    is_input |= !read.empty() && (fs::weakly_canonical(read, error) == output ||
                                  fs::equivalent(read, arguments.output, error));
  const fs::file_status status = fs::status(arguments.output, error);
  if (!is_input && (!fs::exists(status) || fs::is_regular_file(status))) return absl::OkStatus();
  return with_exit_code(
      absl::InvalidArgumentError(
          absl::StrCat("--output ", arguments.output,
                       is_input ? " would be written over the model or an input; name another file"
                                : " is there and no regular file; name another one")),
      ExitCode::kUsage);
}

}  // namespace

absl::Status forward(const Arguments& arguments) {
  SWAGE_RETURN_IF_ERROR(check_output(arguments));
  Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  SWAGE_RETURN_IF_ERROR(choose_adapter(arguments, &catalog));
  Loader loader(catalog);
  SWAGE_ASSIGN_OR_RETURN(const OpenedModel model,
                         OpenedModel::open(arguments.target, catalog, loader, LoadOptions()));
  SWAGE_RETURN_IF_ERROR(model.check_whole());
  SWAGE_ASSIGN_OR_RETURN(const PreparedInputs inputs, read_prepared_inputs(arguments.input, model));
  if (inputs.padded())
    return absl::InvalidArgumentError(
        absl::StrCat(arguments.input,
                     ": attention_mask hides padding, but every token is run here; "
                     "give one sequence at a time, without padding"));
  SWAGE_ASSIGN_OR_RETURN(const Tensors outputs,
                         forward_all(model, inputs, arguments.micro_batch.value_or(0)));
  SWAGE_RETURN_IF_ERROR(io::write_safetensors(arguments.output, outputs));
  return arguments.compare.empty() ? absl::OkStatus()
                                   : compare(outputs, arguments.compare, arguments.tolerance);
}

}  // namespace swage
