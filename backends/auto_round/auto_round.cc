// Checkpoints in AutoRound's format: GPTQ's tensors under a config of its own.
#include "absl/strings/str_cat.h"
#include "config.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::auto_round;

constexpr int64_t kFill = 32;  // AutoRound's linears round sides down to this

class AutoRound final : public store::HfExporter {
 public:
  explicit AutoRound(const Params& params) : HfExporter("AutoRound's format", params) {}

 private:
  bool takes(LinearPlace place) const override { return place != LinearPlace::kEmbedding; }

  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_RETURN_IF_ERROR(store::gptq_fits(linear, {2, 3, 4, 5, 6, 7, 8}));
    if (linear.in % kFill == 0 && linear.out % kFill == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("AutoRound reads multiples of ", kFill,
                                                   " inputs and outputs, found ", linear.in,
                                                   " and ", linear.out, "; keep this linear"));
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    SWAGE_RETURN_IF_ERROR(store::one_scale_type(planned));
    const std::vector<store::IntegerSet> sets = store::integer_sets(planned);
    bool served = true;
    for (const store::IntegerSet& set : sets) {
      if (set.form.symmetric != sets.front().form.symmetric)
        return absl::InvalidArgumentError(absl::StrCat(
            "one of ", sets.front().linears.front(), " and ", set.linears.front(),
            " is symmetric, the other is not, and AutoRound has one format of zero points for all; "
            "state symmetric = true or false for both"));
      served = served && set.form.symmetric && (set.form.bits == 4 || set.form.bits == 8);
    }
    if (!served)
      remark(
          "vLLM 0.33 loads AutoRound checkpoints of 4 and 8 bits that are symmetric, and no "
          "others; "
          "AutoRound and transformers do; for vLLM use \"compressed-tensors\"");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(*linear.codec()));
    return store::write_gptq(linear, form.symmetric, false, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    return make_config(context);
  }

  absl::Status complete(const ExportContext&, Value::Table* config,
                        SideFiles* files) const override {
    const Value& block = (*config)["quantization_config"];
    if (!block.is_null()) files->emplace_back("quantization_config.json", to_json(block) + "\n");
    return absl::OkStatus();
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    if (!module.has("qweight"))
      return module.plain(absl::StrCat("there is no ", module.full("qweight")));
    SWAGE_ASSIGN_OR_RETURN(const StoredAs stored,
                           read_config(config["quantization_config"], module));
    return store::read_gptq(module, stored.form, stored.scales);
  }
};

}  // namespace

SWAGE_EXPORTER(AutoRound, "auto_round");
