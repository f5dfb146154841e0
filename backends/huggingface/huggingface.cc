// Plain floats: each compressed linear becomes the weight that it decodes to, rounded once.
#include <ATen/ops/isfinite.h>

#include "absl/strings/str_cat.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"
#include "swage/tied_ends.h"

namespace {

using namespace swage;

enum class FloatType { kCheckpoint, kBf16, kFp16, kFp32 };
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf, at::kFloat};
constexpr const char* kTypeNames[] = {"", "bfloat16", "float16", "float32"};

class HuggingFace final : public Exporter {
 public:
  explicit HuggingFace(const Params& params)
      : dtype_(params.choice<FloatType>("dtype", {"checkpoint", "bf16", "fp16", "fp32"})),
        shard_bytes_(params.i64("shard_size") << 20) {}

  absl::Status check(const std::vector<LinearSummary>& planned) override {
    for (const LinearSummary& linear : planned) {
      if (!linear.may_transform_input || !linear.kept_by.empty()) continue;
      return absl::InvalidArgumentError(
          "a step leaves linears whose input must be transformed at run time (online_transform), "
          "which a plain checkpoint cannot say");
    }
    return absl::OkStatus();
  }

  absl::Status encode(const Result& linear, TensorSink& sink) override {
    if (!linear.online_transform().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(linear.name(), ": its input must pass ", linear.online_transform(),
                       " at run time, which a plain checkpoint cannot say"));
    }
    return put(linear.name() + ".weight", stored_form(linear).part("weight"), sink);
  }

  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    return put(parameter.name, parameter.value.to(type_of(parameter.storage)), sink);
  }

  Result stored_form(const Result& linear) const override {
    return dense_result(linear.name(), decode_whole(linear).to(type_of(decoded_type(linear))));
  }

  absl::Status finish(ExportContext& context) override {
    if (context.model_config().table() == nullptr)
      return absl::InvalidArgumentError("config.json of the source is no table");
    Value::Table config = *context.model_config().table();
    config.erase("quantization_config");
    if (dtype_ != FloatType::kCheckpoint) {
      const Value name = kTypeNames[static_cast<size_t>(dtype_)];
      if (config.count("dtype") != 0) config["dtype"] = name;
      if (config.count("torch_dtype") != 0 || config.count("dtype") == 0)
        config["torch_dtype"] = name;
    }
    SWAGE_ASSIGN_OR_RETURN(const auto side_files, context.side_files());
    return io::write_hf_checkpoint(context.directory(), context.tensors(), Value(std::move(config)),
                                   side_files, shard_bytes_);
  }

  absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                const Value& config) override {
    const std::string name = linear + ".weight";
    if (config.has("quantization_config"))
      return absl::InvalidArgumentError("config.json has a quantization_config, expected floats");
    if (!tensors.has(name))
      return absl::InvalidArgumentError(absl::StrCat(name, " is missing, expected a matrix"));
    SWAGE_ASSIGN_OR_RETURN(at::Tensor weight, tensors.read(name));
    if (weight.dim() != 2 || !weight.is_floating_point() || weight.element_size() == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is ", c10::toString(weight.scalar_type()), " with ", weight.dim(),
                       " dimensions, expected a matrix of floats"));
    }
    return dense_result(linear, std::move(weight));
  }

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == kTiedEnds ? this : nullptr;
  }

  at::ScalarType type_of(at::ScalarType own) const {
    return dtype_ == FloatType::kCheckpoint ? own : kTypes[static_cast<size_t>(dtype_)];
  }

  // A value that was finite in fp32 may not be in the type that was asked for.
  static absl::Status put(const std::string& name, const at::Tensor& tensor, TensorSink& sink) {
    if (tensor.is_floating_point() && !at::isfinite(tensor).all().item<bool>()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " has values beyond the range of ",
                                                     c10::toString(tensor.scalar_type()),
                                                     "; use dtype = \"bf16\" or \"fp32\""));
    }
    return sink.put(name, tensor);
  }

  const FloatType dtype_;
  const int64_t shard_bytes_;
};

}  // namespace

SWAGE_EXPORTER(HuggingFace, "huggingface");
