// Checkpoints of HQQ: each linear says itself how it is stored.
#include "absl/strings/str_cat.h"
#include "stored_linear.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"
#include "swage/store/notes.h"

namespace {

using namespace swage;

class Hqq final : public store::HfExporter {
 public:
  explicit Hqq(const Params& params) : HfExporter("HQQ", params) {}

 private:
  bool takes(LinearPlace place) const override { return place != LinearPlace::kEmbedding; }

  absl::Status fits(const LinearSummary& linear) const override { return hqq::fits(linear); }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    bool any_floats = false;
    for (const LinearSummary& linear : store::compressed_of(planned))
      any_floats = any_floats || store::integer_form(*linear.weight)->float_zeros;
    remark(
        "transformers 5 drops every tensor of HQQ and computes with random weights; hqq reads "
        "them, and so do transformers 4 and engines that know HQQ");
    if (any_floats)
      remark(
          "HQQ rounds zero points in floats to the dtype in which it computes: with "
          "compute_dtype = torch.float32 they are those that were measured");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    return hqq::write_linear(linear, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const std::vector<LinearSummary> linears = store::compressed_of(context.linears());
    const LinearSummary& first = linears.front();
    const store::IntegerForm form = *store::integer_form(*first.weight);
    Value::List floats;
    for (const std::string& module : store::float_modules(context)) floats.emplace_back(module);
    const Value::Table weights = {{"nbits", form.bits},
                                  {"group_size", form.group_width(first.in)},
                                  {"axis", 1},
                                  {"channel_wise", true},
                                  {"optimize", false},
                                  {"round_zero", !form.float_zeros},
                                  {"view_as_float", false}};
    return Value(Value::Table{{"quant_method", "hqq"},
                              {"skip_modules", std::move(floats)},
                              {"quant_config", Value::Table{{"weight_quant_params", weights},
                                                            {"scale_quant_params", Value()},
                                                            {"zero_quant_params", Value()},
                                                            {"offload_meta", false}}},
                              {store::kNotesKey, store::notes_of(linears, hqq::note_of)}});
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    if (!module.has("W_q")) return module.plain("there is no W_q");
    return hqq::read_linear(module, store::note_for(config["quantization_config"], module.name()));
  }
};

}  // namespace

SWAGE_EXPORTER(Hqq, "hqq");
