// Checkpoints in the compressed-tensors format: tensors per linear, and quantization_config in
// config.json.
#include <mutex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "blocks.h"
#include "experts.h"
#include "known_parts.h"
#include "quantization_config.h"
#include "stored_linear.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"

namespace {

using namespace swage;
using namespace swage::compressed_tensors;

// What a result has beside its codes, for which no layout has a place.
absl::Status check_beside(const Result& linear) {
  std::string what;
  if (linear.mask().defined()) what = "a sparsity mask";
  if (!linear.sides().empty()) what = name_of(linear.sides().front().kind);
  if (!linear.online_transform().empty()) what = "a transform of its input at run time";
  if (what.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the result has ", what, ", which the compressed-tensors exporter does not write"));
}

absl::Status check_planned(const LinearSummary& linear) {
  const char* what = linear.may_transform_input
                         ? "linears whose input must be transformed at run time (online_transform)"
                     : linear.may_have_sides ? "linears with side paths or outliers"
                     : linear.may_have_mask  ? "linears with sparsity masks"
                                             : nullptr;
  if (what == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a step leaves ", what, ", which the compressed-tensors exporter does not write"));
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
      if (linear.place == LinearPlace::kEmbedding)
        return absl::InvalidArgumentError(
            absl::StrCat(linear.name,
                         ": readers of compressed-tensors take an embedding in floats alone; let "
                         "no step name it, or export with use = \"huggingface\""));
      SWAGE_RETURN_IF_ERROR(check_planned(linear));
      const auto layout = choose_layout({linear.weight, linear.activation}, linear.out, linear.in);
      if (!layout.ok()) return annotate(layout.status(), linear.name);
    }
    remark_on_blocks(planned);
    return check_experts(planned);
  }

  absl::Status encode(const Result& linear, TensorSink& sink) override {
    SWAGE_RETURN_IF_ERROR(annotate(check_beside(linear), linear.name()));
    SWAGE_RETURN_IF_ERROR(validate(linear));
    Quantization quantization{linear.codec(), nullptr};
    if (linear.activation()) quantization.activation = linear.activation()->codec;
    const auto layout = choose_layout(quantization, linear.out(), linear.in());
    if (!layout.ok()) return annotate(layout.status(), linear.name());
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

  absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                const Value& config) override {
    SWAGE_ASSIGN_OR_RETURN(const std::optional<StoredAs> stored,
                           find_linear(config["quantization_config"], linear));
    if (!stored) return no_result(linear, tensors);
    SWAGE_RETURN_IF_ERROR(check_parts_once(tensors));
    SWAGE_ASSIGN_OR_RETURN(Result result, read_linear(linear, *stored, tensors));
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
