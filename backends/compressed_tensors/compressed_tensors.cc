// Checkpoints in the compressed-tensors format: tensors per linear, and quantization_config in
// config.json.
#include <mutex>

#include "blocks.h"
#include "experts.h"
#include "known_parts.h"
#include "quantization_config.h"
#include "stored_linear.h"
#include "swage/exact_files.h"
#include "swage/plugin.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::compressed_tensors;

class CompressedTensors final : public store::HfExporter {
 public:
  explicit CompressedTensors(const Params& params) : HfExporter("compressed-tensors", params) {}

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == kExactFiles ? this : nullptr;
  }

  bool takes(LinearPlace place) const override { return place != LinearPlace::kEmbedding; }

  absl::Status fits(const LinearSummary& linear) const override {
    return choose_layout({linear.weight, linear.activation}, linear.out, linear.in).status();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    remark_on_blocks(planned);
    return check_experts(planned);
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    Quantization quantization{linear.codec(), nullptr};
    if (linear.activation()) quantization.activation = linear.activation()->codec;
    SWAGE_ASSIGN_OR_RETURN(const Layout layout,
                           choose_layout(quantization, linear.out(), linear.in()));
    return write_linear(linear, layout, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    return make_quantization_config(context.linears(), store::other_matrices(context));
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::optional<StoredAs> stored,
                           find_linear(config["quantization_config"], module.name()));
    if (!stored) return module.plain("quantization_config does not name " + module.name());
    SWAGE_RETURN_IF_ERROR(check_parts_once(module.tensors()));
    return read_linear(*stored, module);
  }

  // Names are looked through once for each checkpoint, not for each of its linears.
  absl::Status check_parts_once(const WeightSource& tensors) const {
    const std::lock_guard lock(mutex_);
    if (known_ == &tensors) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(check_parts_known(tensors));
    known_ = &tensors;
    return absl::OkStatus();
  }

  mutable std::mutex mutex_;
  mutable const WeightSource* known_ = nullptr;
};

}  // namespace

SWAGE_EXPORTER(CompressedTensors, "compressed-tensors");
