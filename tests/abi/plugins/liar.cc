// Writes floats, honestly or as `how` says, and claims in every case that this is what was meant.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"
#include "swage/status.h"

namespace {

using namespace swage;

CompressedLinear dense(const std::string& name, at::Tensor weight) {
  CompressedLinear linear;
  linear.name = name;
  linear.out = weight.size(0);
  linear.in = weight.size(1);
  linear.scheme.format = NumberFormat::kDense;
  linear.scheme.bits = static_cast<int>(weight.element_size()) * 8;
  linear.scheme.granularity = Granularity::kChannel;
  linear.codes = std::move(weight);
  return linear;
}

class Liar final : public Exporter {
 public:
  explicit Liar(const Params& params) : how_(params.text("how")) {}

  absl::Status check(const std::vector<LinearSummary>&) override { return absl::OkStatus(); }

  CompressedLinear stored_form(const CompressedLinear& linear) const override {
    at::Tensor weight = swage::decode(linear);
    if (how_ == "stored_form") weight = weight * 1.001;
    if (how_ == "other_form") weight = at::zeros_like(weight);
    if (how_ == "bf16") weight = weight.to(at::kBFloat16);
    return dense(linear.name, weight);
  }

  absl::Status encode(const CompressedLinear& linear, TensorSink& sink) override {
    const CompressedLinear stored = stored_form(linear);
    return sink.put(linear.name + ".weight", stored.codes);
  }

  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    const std::string& name = parameter.name;
    const at::Tensor value = parameter.value.to(parameter.storage);
    const bool norm = absl::StrContains(name, "norm");
    if (norm && how_ == "no_norms") return absl::OkStatus();
    if (norm && how_ == "norms") return sink.put(name, value * 1.01);
    if (how_ == "one_norm" && name == "model.layers.1.input_layernorm.weight")
      return sink.put(name, value + 1e-6);
    if (how_ == "kept" && absl::StrContains(name, "_proj.weight")) return sink.put(name, -value);
    if (how_ == "renamed" && norm) return sink.put("new." + name, value);
    if (how_ == "more" && name == "model.norm.weight")
      SWAGE_RETURN_IF_ERROR(sink.put("model.extra.weight", value.clone()));
    return sink.put(name, value);
  }

  absl::Status finish(ExportContext& context) override {
    SWAGE_ASSIGN_OR_RETURN(const auto side_files, context.side_files());
    return io::write_hf_checkpoint(context.directory(), context.tensors(), context.model_config(),
                                   side_files, int64_t{1} << 30);
  }

  absl::StatusOr<CompressedLinear> decode(const std::string& linear, const WeightSource& tensors,
                                          const Value&) override {
    SWAGE_ASSIGN_OR_RETURN(at::Tensor weight, tensors.read(linear + ".weight"));
    return dense(linear, std::move(weight));
  }

 private:
  const std::string how_;
};

}  // namespace

SWAGE_EXPORTER(Liar, "liar");
