// Checkpoints as AutoAWQ writes them, layout "gemm": X.qweight, X.qzeros and X.scales of each
// linear, all transposed.
#include "quantization_config.h"
#include "swage/plugin.h"
#include "swage/status.h"
#include "swage/store/awq_linear.h"
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
    return store::write_awq(linear, sink);
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
    SWAGE_ASSIGN_OR_RETURN(const Description description,
                           from_config(config["quantization_config"]));
    if (description.leaves(module.name()))
      return module.plain("quantization_config.modules_to_not_convert names it");
    if (!module.has("qweight")) return module.plain(module.full("qweight") + " is missing");
    return store::read_awq(module, description.form, description.scale_dtype);
  }
};

}  // namespace

SWAGE_EXPORTER(Awq, "awq");
