// Checkpoints as ModelOpt's unified export writes them: tensors per linear, hf_quant_config.json
// and the same in config.json.
#include "absl/strings/str_cat.h"
#include "quantization_config.h"
#include "stored_linear.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/store/fused_members.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"

namespace {

using namespace swage;
using namespace swage::modelopt;
using Linears = std::vector<LinearSummary>;

constexpr char kScaleType[] = "scale_dtype";

// config.json has one key for all of them.
absl::Status check_scale_types(const Linears& compressed) {
  const LinearSummary* first = nullptr;
  for (const LinearSummary& linear : compressed) {
    if (linear.weight->format() != "int") continue;
    if (first == nullptr) first = &linear;
    const at::ScalarType own = store::scale_type(linear), other = store::scale_type(*first);
    if (own == other) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(linear.name, " has scales in ", store::dtype_name(own), " and ", first->name,
                     " in ", store::dtype_name(other), "; give both one scale_dtype"));
  }
  return absl::OkStatus();
}

class ModelOpt final : public store::HfExporter {
 public:
  explicit ModelOpt(const Params& params) : HfExporter("ModelOpt", params) {}

 private:
  absl::Status fits(const LinearSummary& linear) const override {
    return quantization_of(linear).status();
  }

  absl::Status fit_together(const Linears& planned) const override {
    SWAGE_RETURN_IF_ERROR(store::check_members_alike(planned));
    Linears shared;  // linears with one scale for the tensor
    bool blocks = false;
    for (const LinearSummary& linear : store::compressed_of(planned)) {
      const Quantization quantization = *quantization_of(linear);
      if (quantization.is_nvfp4() || quantization.algorithm == modelopt::Algorithm::kFp8)
        shared.push_back(linear);
      blocks = blocks || quantization.algorithm == modelopt::Algorithm::kFp8Blocks;
    }
    if (blocks)
      remark(
          "vLLM 0.33 computes FP8_PB_WO with inputs in fp8, a scale for 128 of them, which was not "
          "measured here; for that state such an activation and export with use = \"fp8\"");
    SWAGE_RETURN_IF_ERROR(store::check_members_share(shared));
    store::remark_on_expert_inputs(planned);
    return check_scale_types(store::compressed_of(planned));
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    const auto& activation = linear.activation();
    SWAGE_ASSIGN_OR_RETURN(
        const Quantization quantization,
        quantization_of(*linear.codec(), activation ? activation->codec.get() : nullptr));
    return write_linear(linear, quantization, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    for (const char* part : {"weight_scale", "weight_scale_2", "input_scale"})
      SWAGE_RETURN_IF_ERROR(store::check_members_equal(context, part));
    return make_quantization_config(context);
  }

  absl::Status complete(const ExportContext& context, Value::Table* config,
                        SideFiles* files) const override {
    if (config->count("quantization_config") == 0) return absl::OkStatus();
    SWAGE_ASSIGN_OR_RETURN(const Value content, make_hf_quant_config(context));
    files->emplace_back("hf_quant_config.json", to_json(content) + "\n");
    return absl::OkStatus();
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    const Value& quantization = config["quantization_config"];
    SWAGE_ASSIGN_OR_RETURN(const std::optional<Quantization> stored,
                           find_linear(quantization, module.name()));
    if (!stored) return module.plain("quantization_config leaves it in floats");
    const std::string type = quantization.str(kScaleType, "");
    const at::ScalarType scales = store::dtype_named(type);
    if (!quantization[kScaleType].is_null() && scales == at::ScalarType::Undefined)
      return absl::InvalidArgumentError(absl::StrCat("quantization_config.", kScaleType, " is ",
                                                     to_json(quantization[kScaleType], -1),
                                                     ", expected a dtype of floats"));
    return read_linear(module, *stored, scales);
  }
};

}  // namespace

SWAGE_EXPORTER(ModelOpt, "modelopt");
