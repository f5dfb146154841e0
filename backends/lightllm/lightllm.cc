// What LightLLM loads: quant_method "fp8" with blocks of 128 x 128. It reads all other checkpoints
// as floats, without an error.
#include "absl/strings/str_cat.h"
#include "swage/plugin.h"
#include "swage/store/fp8_blocks.h"
#include "swage/store/fp8_form.h"
#include "swage/store/fused_members.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using store::Fp8Form;

constexpr int64_t kSide = 128;

class LightLlm final : public store::HfExporter {
 public:
  explicit LightLlm(const Params& params) : HfExporter("LightLLM", params) {}

 private:
  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, store::fp8_form(*linear.weight));
    if (form.extent != Fp8Form::Extent::kBlock || form.rows != kSide || form.columns != kSide)
      return absl::InvalidArgumentError(
          "it loads blocks of 128 x 128; use granularity = \"block\", block_rows = 128, "
          "block_columns = 128");
    return store::check_fp8_blocks(linear);
  }

  // It joins matrices, and cuts scales with them.
  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    return store::check_members_alike(planned);
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    return store::put_fp8_blocks(linear, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    return store::fp8_blocks_config(context);
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    const Value& quantization = config["quantization_config"];
    const Value sides = Value::List{kSide, kSide};
    for (const auto& [key, expected] :
         {std::pair("quant_method", Value("fp8")), std::pair("weight_block_size", sides)}) {
      if (quantization[key] == expected) continue;
      return absl::InvalidArgumentError(absl::StrCat("quantization_config.", key, " is ",
                                                     to_json(quantization[key], -1), ", expected ",
                                                     to_json(expected, -1)));
    }
    SWAGE_ASSIGN_OR_RETURN(const bool floats, store::in_floats(module, quantization));
    if (floats) return module.plain("quantization_config leaves it in floats");
    return store::read_fp8_blocks(module, quantization);
  }
};

}  // namespace

SWAGE_EXPORTER(LightLlm, "lightllm");
