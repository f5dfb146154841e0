// Checkpoints in AutoRound's format: GPTQ's or AutoAWQ's tensors under a config of its own.
#include "absl/strings/str_cat.h"
#include "config.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/awq_linear.h"
#include "swage/store/gptq_linear.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::auto_round;

enum class Wanted { kGptq, kAwq };

constexpr int64_t kFill = 32;  // AutoRound's linears round sides down to this

class AutoRound final : public store::HfExporter {
 public:
  explicit AutoRound(const Params& params)
      : HfExporter("AutoRound's format", params),
        awq_(params.choice<Wanted>("packing", {"auto_gptq", "auto_awq"}) == Wanted::kAwq) {}

 private:
  // Of weights with or without a zero point.
  Packing packing(bool symmetric) const {
    return awq_ ? Packing::kAwq : symmetric ? Packing::kLessOne : Packing::kPlain;
  }

  bool takes(LinearPlace place) const override {
    return place == LinearPlace::kBlock || (place == LinearPlace::kHead && !awq_);
  }

  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_RETURN_IF_ERROR(awq_ ? store::awq_fits(linear)
                               : store::gptq_fits(linear, {2, 3, 4, 5, 6, 7, 8}));
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
      if (!awq_ && set.form.symmetric != sets.front().form.symmetric)
        return absl::InvalidArgumentError(absl::StrCat(
            "one of ", sets.front().linears.front(), " and ", set.linears.front(),
            " is symmetric, the other is not, and AutoRound has one format of zero points for all; "
            "state symmetric = true or false for both, or packing = \"auto_awq\" for 4 bits"));
      served = served && set.form.symmetric && (set.form.bits == 4 || set.form.bits == 8);
    }
    if (!awq_ && !served)
      remark(
          "vLLM 0.33 loads AutoRound checkpoints of 4 and 8 bits that are symmetric, and no "
          "others; "
          "AutoRound and transformers do; for vLLM use \"compressed-tensors\"");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    if (awq_) return store::write_awq(linear, sink);
    SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(*linear.codec()));
    return store::write_gptq(linear, packing(form.symmetric) == Packing::kLessOne, false, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const bool symmetric = store::integer_sets(context.linears()).front().form.symmetric;
    return make_config(context, packing(symmetric));
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
    if (stored.packing == Packing::kAwq) return store::read_awq(module, stored.form, stored.scales);
    return store::read_gptq(module, {stored.form, stored.packing == Packing::kLessOne},
                            stored.scales);
  }

  const bool awq_;
};

}  // namespace

SWAGE_EXPORTER(AutoRound, "auto_round");
