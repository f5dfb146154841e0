// Checkpoints as AutoAWQ writes them, layout "gemm": X.qweight, X.qzeros and X.scales of each
// linear, all transposed.
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "quantization_config.h"
#include "swage/plugin.h"
#include "swage/status.h"
#include "swage/store/awq_layout.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::awq;

class Awq final : public store::HfExporter {
 public:
  explicit Awq(const Params& params) : HfExporter("AWQ", params) {}

 private:
  absl::Status fits(const LinearSummary& linear) const override {
    return describe(linear).status();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(planned);
    SWAGE_RETURN_IF_ERROR(check_alike(compressed));
    std::vector<std::string> names, kept;
    for (const LinearSummary& linear : planned)
      (linear.kept_by.empty() ? names : kept).push_back(linear.name);
    return names_to_leave(kept, names).status();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    const at::Tensor& scales = linear.part("scales");
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor half, store::cast_exactly(scales, at::kHalf));
    // Readers look for zero points of symmetric linears too: 8 everywhere.
    const at::Tensor& zeros = linear.part("zeros");
    const at::Tensor stored = zeros.defined() ? zeros : at::zeros(scales.sizes(), at::kChar);
    SWAGE_RETURN_IF_ERROR(
        sink.put(linear.name() + ".qweight", store::pack_awq(linear.part("codes"))));
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".qzeros", store::pack_awq(stored)));
    return sink.put(linear.name() + ".scales", half.t().contiguous());
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(context.linears());
    SWAGE_RETURN_IF_ERROR(check_alike(compressed));
    SWAGE_ASSIGN_OR_RETURN(Description description, describe(compressed.front()));
    std::vector<std::string> names;
    for (const LinearSummary& linear : compressed) names.push_back(linear.name);
    SWAGE_ASSIGN_OR_RETURN(description.unconverted,
                           names_to_leave(store::float_modules(context), names));
    return to_config(description);
  }

  // Kernels of AWQ compute in fp16, which is what scales in fp16 were chosen for.
  absl::Status complete(const ExportContext&, Value::Table* config, SideFiles*) const override {
    const auto block = config->find("quantization_config");
    if (block == config->end() || block->second.has("scale_dtype")) return absl::OkStatus();
    if (config->count("dtype") != 0) (*config)["dtype"] = "float16";
    if (config->count("torch_dtype") != 0 || config->count("dtype") == 0)
      (*config)["torch_dtype"] = "float16";
    return absl::OkStatus();
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(Description description, from_config(config["quantization_config"]));
    if (description.leaves(module.name()))
      return module.plain("quantization_config.modules_to_not_convert names it");
    if (!module.has("qweight")) return module.plain(module.full("qweight") + " is missing");
    SWAGE_RETURN_IF_ERROR(
        module.expect_absent("g_idx", "none: AWQ has no groups of scattered columns"));
    SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape("qweight", 2));
    const int64_t in = shape[0], out = shape[1] * 8;
    const int64_t width = description.form.group_width(in);
    if (in % width != 0)
      return module.wrong("qweight", absl::StrCat(in, " columns of input"),
                          absl::StrCat("a multiple of the group size ", width));
    const int64_t groups = in / width;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor words, module.read("qweight", {at::kInt}, shape));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor zeros,
                           module.read("qzeros", {at::kInt}, {groups, shape[1]}));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                           module.read("scales", store::float_types(), {groups, out}));
    Parts parts = {{"codes", store::unpack_awq(words)}, {"scales", stored.t().contiguous()}};
    if (description.scale_dtype != at::ScalarType::Undefined) {
      SWAGE_ASSIGN_OR_RETURN(parts["scales"],
                             store::cast_exactly(parts["scales"], description.scale_dtype));
    }
    // What is in the files counts: a zero point other than 8 is one, whatever the config says.
    at::Tensor points = store::unpack_awq(zeros);
    description.form.symmetric = description.form.symmetric && !points.any().item<bool>();
    if (!description.form.symmetric) parts["zeros"] = std::move(points);
    SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec(description.form));
    return Result(module.name(), std::move(codec), out, in, std::move(parts));
  }
};

}  // namespace

SWAGE_EXPORTER(Awq, "awq");
