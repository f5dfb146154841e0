// Checkpoints in the compressed-tensors format: tensors per linear, and quantization_config in
// config.json.
#include <mutex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "experts.h"
#include "known_parts.h"
#include "quantization_config.h"
#include "stored_linear.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"

namespace {

using namespace swage;
using namespace swage::compressed_tensors;

// Parts of a result that no layout has a place for.
absl::Status check_parts(const CompressedLinear& linear) {
  const std::pair<bool, const char*> parts[] = {
      {linear.g_idx.defined(), "groups of scattered columns (g_idx)"},
      {linear.mask.defined(), "a sparsity mask"},
      {linear.outlier_index.defined(), "outliers kept in floats"},
      {linear.low_rank_left.defined(), "a low-rank side path"},
      {linear.codebook.defined(), "a codebook"},
      {!linear.online_transform.empty(), "a transform of its input at run time"}};
  for (const auto& [present, name] : parts) {
    if (!present) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the result has ", name, ", which the compressed-tensors exporter does not write"));
  }
  return absl::OkStatus();
}

// Matrices that are no linears of the model but would match the class name "Linear": routers.
absl::StatusOr<std::vector<std::string>> other_matrices(const WeightSource& tensors,
                                                        const std::vector<LinearSummary>& linears) {
  std::set<std::string> known;
  for (const LinearSummary& linear : linears) known.insert(linear.name);
  std::vector<std::string> found;
  for (const std::string& tensor : tensors.names()) {
    absl::string_view module = tensor;
    if (!absl::ConsumeSuffix(&module, ".weight") || absl::StrContains(module, "embed")) continue;
    SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, tensors.shape(tensor));
    if (shape.size() == 2 && known.count(std::string(module)) == 0) found.emplace_back(module);
  }
  return found;
}

class CompressedTensors final : public Exporter {
 public:
  explicit CompressedTensors(const Params& params) : shard_bytes_(params.i64("shard_size") << 20) {}

  absl::Status check(const std::vector<LinearSummary>& planned) override {
    for (const LinearSummary& linear : planned) {
      if (!linear.kept_by.empty()) continue;
      if (linear.may_transform_input) {
        return absl::InvalidArgumentError(
            "a step leaves linears whose input must be transformed at run time (online_transform), "
            "which the compressed-tensors exporter does not write");
      }
      const auto layout = choose_layout({linear.weight, linear.activation}, linear.in);
      if (!layout.ok()) return annotate(layout.status(), linear.name);
    }
    return check_experts(planned);
  }

  absl::Status encode(const CompressedLinear& linear, TensorSink& sink) override {
    SWAGE_RETURN_IF_ERROR(annotate(check_parts(linear), linear.name));
    SWAGE_RETURN_IF_ERROR(validate(linear));
    Quantization quantization{linear.scheme, std::nullopt};
    if (linear.activation) quantization.activation = linear.activation->scheme;
    const auto layout = choose_layout(quantization, linear.in);
    if (!layout.ok()) return annotate(layout.status(), linear.name);
    return write_linear(linear, *layout, sink);
  }

  absl::Status finish(ExportContext& context) override {
    if (context.model_config().table() == nullptr)
      return absl::InvalidArgumentError("config.json of the source is no table");
    SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> others,
                           other_matrices(context.tensors(), context.linears()));
    SWAGE_ASSIGN_OR_RETURN(Value block, make_quantization_config(context.linears(), others));
    Value::Table config = *context.model_config().table();
    config.erase("quantization_config");
    config.erase("compression_config");
    if (!block.is_null()) config["quantization_config"] = std::move(block);
    SWAGE_ASSIGN_OR_RETURN(const auto side_files, context.side_files());
    return io::write_hf_checkpoint(context.directory(), context.tensors(), Value(std::move(config)),
                                   side_files, shard_bytes_);
  }

  absl::StatusOr<CompressedLinear> decode(const std::string& linear, const WeightSource& tensors,
                                          const Value& config) override {
    SWAGE_ASSIGN_OR_RETURN(const std::optional<StoredAs> stored,
                           find_linear(config["quantization_config"], linear));
    if (!stored) return no_result(linear, tensors);
    SWAGE_RETURN_IF_ERROR(check_parts_once(tensors));
    SWAGE_ASSIGN_OR_RETURN(CompressedLinear result, read_linear(linear, *stored, tensors));
    SWAGE_RETURN_IF_ERROR(validate(result));
    return result;
  }

 private:
  // Names are looked through once for each checkpoint, not for each of its linears.
  absl::Status check_parts_once(const WeightSource& tensors) {
    const std::lock_guard lock(mutex_);
    if (known_ == &tensors) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(check_parts_known(tensors));
    known_ = &tensors;
    return absl::OkStatus();
  }

  std::mutex mutex_;
  const WeightSource* known_ = nullptr;
  const int64_t shard_bytes_;
};

}  // namespace

SWAGE_EXPORTER(CompressedTensors, "compressed-tensors");
