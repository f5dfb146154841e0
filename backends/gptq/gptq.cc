// Checkpoints in GPTQ's format: quantized linears transposed and packed, rules for those that are
// not like the others.
#include "absl/strings/str_cat.h"
#include "config.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/gptq_linear.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::gptq;

enum class Wanted { kAuto, kFirst, kSecond };

class GptqExporter final : public store::HfExporter {
 public:
  explicit GptqExporter(const Params& params)
      : HfExporter("GPTQ's format", params),
        wanted_(params.choice<Wanted>("checkpoint_format", {"auto", "gptq", "gptq_v2"})) {}

 private:
  using IntegerForm = store::IntegerForm;

  bool takes(LinearPlace place) const override { return place != LinearPlace::kEmbedding; }

  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_RETURN_IF_ERROR(store::gptq_fits(linear, {2, 3, 4, 8}));
    if (wanted_ != Wanted::kFirst || store::integer_form(*linear.weight)->symmetric)
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        "checkpoint_format = \"gptq\" stores zero points minus one, which leaves no place for "
        "zero; "
        "use \"gptq_v2\" or \"auto\"");
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    SWAGE_RETURN_IF_ERROR(store::one_scale_type(planned));
    const std::vector<store::IntegerSet> sets = store::integer_sets(planned);
    bool served = true;
    const store::IntegerSet* symmetric = nullptr;
    const store::IntegerSet* asymmetric = nullptr;
    for (const store::IntegerSet& set : sets) {
      (set.form.symmetric ? symmetric : asymmetric) = &set;
      served = served && set.form.symmetric && set.form.bits >= 4;
    }
    if (wanted_ == Wanted::kAuto && symmetric != nullptr && asymmetric != nullptr)
      return absl::InvalidArgumentError(absl::StrCat(
          symmetric->linears.front(), " is symmetric, ", asymmetric->linears.front(),
          " is not, and a checkpoint has one format of zero points; write checkpoint_format = "
          "\"gptq_v2\" into [[export]]"));
    if (!served)
      remark(
          "vLLM 0.33 loads GPTQ checkpoints of 4 and 8 bits that are symmetric, and no others; "
          "GPTQModel and transformers do; for vLLM use \"compressed-tensors\"");
    return absl::OkStatus();
  }

  // Of the linear alone: blocks are written before all of them are known.
  bool zeros_less_one(const IntegerForm& form) const {
    return wanted_ != Wanted::kSecond && form.symmetric;
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_ASSIGN_OR_RETURN(const IntegerForm form, store::integer_form(*linear.codec()));
    return store::write_gptq(linear, zeros_less_one(form), true, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    return make_config(context, wanted_ == Wanted::kSecond);
  }

  // Tools that look for it take it before config.json.
  absl::Status complete(const ExportContext&, Value::Table* config,
                        SideFiles* files) const override {
    const Value& block = (*config)["quantization_config"];
    if (!block.is_null()) files->emplace_back("quantize_config.json", to_json(block) + "\n");
    return absl::OkStatus();
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    if (!module.has("qweight"))
      return module.plain(absl::StrCat("there is no ", module.full("qweight")));
    SWAGE_ASSIGN_OR_RETURN(const StoredAs stored,
                           read_config(config["quantization_config"], module.name()));
    if (stored.scattered && stored.form.integers.group != 0 && !module.has("g_idx"))
      return module.wrong("g_idx", "missing", "the group of each input, as desc_act says");
    return store::read_gptq(module, stored.form, stored.scales);
  }

  const Wanted wanted_;
};

}  // namespace

SWAGE_EXPORTER(GptqExporter, "gptq");
