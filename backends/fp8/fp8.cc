// Checkpoints of quant_method "fp8": one scale for a tensor, as AutoFP8 and vLLM have them, or one
// for a block, as DeepSeek-V3 was published.

#include "absl/strings/str_cat.h"
#include "swage/exact_files.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/store/fp8_blocks.h"
#include "swage/store/fp8_form.h"
#include "swage/store/fused_members.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using store::Fp8Form;
using store::Fp8Input;
using Extent = Fp8Form::Extent;
using Linears = std::vector<LinearSummary>;

constexpr char kScale[] = "weight_scale", kInputScale[] = "input_scale",
               kScheme[] = "activation_scheme", kBlock[] = "weight_block_size";

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status check_tensor(const LinearSummary& linear) {
  SWAGE_RETURN_IF_ERROR(store::check_fp32_scales(linear));
  if (!linear.activation)
    return refused(
        "its readers quantize inputs, too; write activation = { format = \"fp8-e4m3\" }, or with "
        "granularity = \"tensor\" and dynamic = false");
  SWAGE_ASSIGN_OR_RETURN(const Fp8Input input, store::fp8_input(*linear.activation));
  if (input.group == 0) return absl::OkStatus();
  return refused(
      "beside one scale for a tensor its readers have one for a token or a static one; use "
      "granularity = \"token\" for the inputs");
}

bool in_blocks(const LinearSummary& linear) {
  return store::fp8_form(*linear.weight)->extent == Extent::kBlock;
}

// quantization_config has one scheme for all.
absl::Status check_one_input(const Linears& compressed) {
  for (const LinearSummary& linear : compressed) {
    const LinearSummary& first = compressed.front();
    if (linear.activation->form() == first.activation->form()) continue;
    return refused(absl::StrCat(linear.name, " has inputs in ", linear.activation->describe(),
                                " and ", first.name, " in ", first.activation->describe(), ": ",
                                kScheme, " is one for all; give both the same"));
  }
  return absl::OkStatus();
}

void remark_on_sides(const LinearSummary& linear) {
  const Fp8Form form = *store::fp8_form(*linear.weight);
  if (form.rows == 128 && form.columns == 128) return;
  remark(absl::StrCat("blocks of ", form.rows, " x ", form.columns,
                      ": transformers reads them; the kernels of SGLang, LMDeploy, LightLLM and "
                      "TensorRT-LLM take 128 x 128 alone"));
}

class Fp8 final : public store::HfExporter {
 public:
  explicit Fp8(const Params& params) : HfExporter("fp8", params) {}

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == kExactFiles ? this : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, store::fp8_form(*linear.weight));
    if (form.extent == Extent::kBlock) return store::check_fp8_blocks(linear);
    if (form.extent == Extent::kTensor) return check_tensor(linear);
    return refused(
        "it has one scale for a tensor or for a block; use granularity = \"tensor\" with share = "
        "\"fused\", or granularity = \"block\" (\"compressed-tensors\" and \"modelopt\" hold "
        "scales for rows)");
  }

  absl::Status fit_together(const Linears& planned) const override {
    const Linears compressed = store::compressed_of(planned);
    if (compressed.empty()) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(store::check_members_alike(planned));
    SWAGE_RETURN_IF_ERROR(store::check_one_block(planned));
    SWAGE_RETURN_IF_ERROR(check_one_input(compressed));
    if (in_blocks(compressed.front())) {
      remark_on_sides(compressed.front());
      return absl::OkStatus();
    }
    store::remark_on_expert_inputs(planned);
    remark("fp8 with one scale for a tensor: transformers 5.23 does not read it");
    return store::check_members_share(planned);
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, store::fp8_form(*linear.codec()));
    if (form.extent == Extent::kBlock) return store::put_fp8_blocks(linear, sink);
    SWAGE_RETURN_IF_ERROR(store::put_input_scale(linear, kInputScale, sink));
    return store::put_fp8(linear, kScale, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const Linears compressed = store::compressed_of(context.linears());
    if (in_blocks(compressed.front())) return store::fp8_blocks_config(context);
    for (const char* part : {kScale, kInputScale})
      SWAGE_RETURN_IF_ERROR(store::check_members_equal(context, part));
    SWAGE_ASSIGN_OR_RETURN(const Fp8Input input, store::fp8_input(*compressed.front().activation));
    Value::Table config = {{"quant_method", "fp8"},
                           {kScheme, input.dynamic ? "dynamic" : "static"}};
    store::put_float_modules(context, &config);
    return Value(std::move(config));
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    const Value& quantization = config["quantization_config"];
    if (quantization.str("quant_method", "") != "fp8")
      return refused(absl::StrCat("quantization_config.quant_method is ",
                                  to_json(quantization["quant_method"], -1), ", expected \"fp8\""));
    SWAGE_ASSIGN_OR_RETURN(const bool floats, store::in_floats(module, quantization));
    if (floats) return module.plain("quantization_config leaves it in floats");
    if (!quantization[kBlock].is_null()) return store::read_fp8_blocks(module, quantization);
    const std::string scheme = quantization.str(kScheme, "");
    if (scheme != "static" && scheme != "dynamic")
      return refused(absl::StrCat("quantization_config.", kScheme, " is ",
                                  to_json(quantization[kScheme], -1),
                                  ", expected \"static\" or \"dynamic\""));
    SWAGE_ASSIGN_OR_RETURN(Result linear, store::read_fp8(module, {Extent::kTensor}, kScale));
    Fp8Input input;
    input.dynamic = scheme == "dynamic";
    SWAGE_ASSIGN_OR_RETURN(auto codec, store::fp8_input_codec(input));
    SWAGE_ASSIGN_OR_RETURN(auto quantizer,
                           store::read_input_scale(module, std::move(codec), kInputScale));
    linear.set_activation(std::move(quantizer));
    return linear;
  }
};

}  // namespace

SWAGE_EXPORTER(Fp8, "fp8");
