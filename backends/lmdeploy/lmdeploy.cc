// Checkpoints as "lmdeploy lite smooth_quant" writes them: X.weight in int8 or fp8 and X.scale.
#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "description.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"

namespace {

using namespace swage;
using namespace swage::lmdeploy;

// What stands in front of the number of a linear's block: "model.layers".
std::string stack_of(const std::string& linear) {
  std::string stack;
  for (const absl::string_view word : absl::StrSplit(linear, '.')) {
    if (!word.empty() && std::all_of(word.begin(), word.end(), absl::ascii_isdigit)) return stack;
    absl::StrAppend(&stack, stack.empty() ? "" : ".", word);
  }
  return "";
}

class LmDeploy final : public store::HfExporter {
 public:
  explicit LmDeploy(const Params& params) : HfExporter("LMDeploy's smooth_quant", params) {}

 private:
  absl::Status fits(const LinearSummary& linear) const override {
    return describe(linear).status();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(planned);
    SWAGE_RETURN_IF_ERROR(check_alike(compressed));
    std::set<std::string> stacks;
    for (const LinearSummary& linear : compressed) stacks.insert(stack_of(linear.name));
    for (const LinearSummary& linear : planned) {
      if (linear.kept_by.empty() || stacks.count(stack_of(linear.name)) == 0) continue;
      remark(absl::StrCat(linear.name,
                          " stays in floats: LMDeploy's norms hand on quantized values in every "
                          "block, so it may refuse the model; compress all linears of the blocks, "
                          "or export with use = \"compressed-tensors\" for another engine"));
      break;
    }
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".weight", linear.part("codes")));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                           store::cast_exactly(linear.part("scales"), at::kFloat));
    return sink.put(linear.name() + ".scale", scales);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(context.linears());
    SWAGE_RETURN_IF_ERROR(check_alike(compressed));
    SWAGE_ASSIGN_OR_RETURN(Description description, describe(compressed.front()));
    description.unconverted = store::float_modules(context);
    // The head of a tied model has no tensor of its own.
    constexpr char kHead[] = "lm_head";
    std::vector<std::string>& names = description.unconverted;
    if (std::find(names.begin(), names.end(), kHead) == names.end()) names.emplace_back(kHead);
    return to_config(description);
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const Description description,
                           from_config(config["quantization_config"]));
    const std::vector<std::string>& floats = description.unconverted;
    if (std::find(floats.begin(), floats.end(), module.name()) != floats.end())
      return module.plain("quantization_config.modules_to_not_convert names it");
    if (!module.has("scale")) return module.plain(module.full("scale") + " is missing");
    SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape("weight", 2));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes,
                           module.read("weight", {description.codes}, shape));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                           module.read("scale", store::float_types(), {shape[0], 1}));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales,
                           store::cast_exactly(stored, description.scale_dtype));
    Result linear(module.name(), description.weight(), shape[0], shape[1],
                  {{"codes", codes}, {"scales", scales}});
    linear.set_activation(ActivationQuantizer{description.activation(), {}});
    return linear;
  }
};

}  // namespace

SWAGE_EXPORTER(LmDeploy, "lmdeploy");
