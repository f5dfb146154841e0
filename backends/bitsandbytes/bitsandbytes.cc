// Checkpoints of bitsandbytes: a quantization_config for the whole model, and at each linear what
// tells how it is stored.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "eight_bits.h"
#include "four_bits.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"

namespace {

using namespace swage;
using namespace swage::bitsandbytes;

// Features of inputs beyond this are multiplied in 16 bits; 0: none.
constexpr double kUsualThreshold = 6;

class BitsAndBytes final : public store::HfExporter {
 public:
  explicit BitsAndBytes(const Params& params) : HfExporter("bitsandbytes", params) {}

 private:
  bool takes(LinearPlace place) const override { return place != LinearPlace::kEmbedding; }

  absl::Status fits(const LinearSummary& linear) const override {
    if (absl::StrContains(linear.name, ".experts."))
      return absl::InvalidArgumentError(
          "transformers, its reader, holds the experts of a layer in one tensor, which it does not "
          "quantize; keep them (keep = true in an override)");
    if (quant_type(*linear.weight) == nullptr) return fits_eight_bits(linear);
    if (linear.activation)
      return absl::InvalidArgumentError("its 4-bit formats leave inputs in floats");
    constexpr int64_t kColumns = 64;
    if (linear.in % kColumns == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("64 columns share a scale, and rows have ", linear.in));
  }

  // quantization_config says one thing for all linears.
  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    const std::vector<LinearSummary> all = store::compressed_of(planned);
    if (all.empty()) return absl::OkStatus();
    for (const LinearSummary& linear : all) {
      const LinearSummary& first = all.front();
      if (linear.weight->form() == first.weight->form() &&
          (linear.activation == nullptr) == (first.activation == nullptr) &&
          scales_of(linear) == scales_of(first))
        continue;
      return absl::InvalidArgumentError(
          absl::StrCat(linear.name, " is ", linear.weight->describe(), ", ", first.name, " ",
                       first.weight->describe(),
                       ": bitsandbytes has one scheme for a checkpoint; give all linears the same, "
                       "or keep some"));
    }
    if (quant_type(*all.front().weight) == nullptr && all.front().activation == nullptr)
      remark(
          "bitsandbytes rounds inputs of int8 linears to 8 bits as well, but for features beyond "
          "6, which was not measured; activation = { bits = 8 } measures it, and then all "
          "features are rounded");
    return absl::OkStatus();
  }

  static at::ScalarType scales_of(const LinearSummary& linear) {
    return quant_type(*linear.weight) == nullptr ? store::scale_type(linear)
                                                 : at::ScalarType::Undefined;
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    if (quant_type(*linear.codec()) == nullptr) return write_eight_bits(linear, sink);
    return write_four_bits(linear, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const auto compressed = store::compressed_of(context.linears());
    const LinearSummary linear = compressed.front();
    const char* const type = quant_type(*linear.weight);
    Value::List floats;
    const auto is_head = [](const LinearSummary& one) {
      return absl::EndsWith(absl::StrCat(".", one.name), ".lm_head");
    };
    const bool kept = std::none_of(compressed.begin(), compressed.end(), is_head);
    for (const std::string& module : store::float_modules(context)) {
      if (!kept || module != "lm_head") floats.emplace_back(module);
    }
    // Wherever a reader hangs it, and where it is the embedding: what is not in the list it
    // converts.
    if (kept) floats.emplace_back("lm_head");
    Value::Table config = {{"quant_method", "bitsandbytes"},
                           {"load_in_4bit", type != nullptr},
                           {"load_in_8bit", type == nullptr},
                           {"llm_int8_threshold", linear.activation ? 0. : kUsualThreshold},
                           {"llm_int8_has_fp16_weight", false},
                           {"llm_int8_enable_fp32_cpu_offload", false},
                           {"llm_int8_skip_modules", std::move(floats)}};
    if (type == nullptr) {
      config["scale_dtype"] = store::dtype_name(store::scale_type(linear));
      return Value(std::move(config));
    }
    config["bnb_4bit_quant_type"] = type;
    config["bnb_4bit_use_double_quant"] = is_nested(*linear.weight);
    config["bnb_4bit_compute_dtype"] =
        store::dtype_name(bitsandbytes::decoded_type(*linear.weight));
    config["bnb_4bit_quant_storage"] = "uint8";
    return Value(std::move(config));
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    if (module.has(kAbsmax)) return read_four_bits(module);
    if (module.has(kSizes)) return read_eight_bits(module, config);
    return module.plain("there is neither weight.absmax (4 bits) nor SCB (8 bits)");
  }
};

}  // namespace

SWAGE_EXPORTER(BitsAndBytes, "bitsandbytes");
