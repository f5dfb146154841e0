#include <ATen/ops/clamp.h>
#include <ATen/ops/std.h>

#include "swage/plugin.h"
#include "swage/quant/quantizer.h"

namespace {

using namespace swage;

// Outliers stretch a row's range and so coarsen its grid: move them in, then round to nearest.
class MyMethod final : public Algorithm {
 public:
  explicit MyMethod(const Params& params) : limit_(params.f64("limit")) {}

  absl::Status subset_transform(SubsetContext& subset) override {
    for (Linear* linear : subset.linears()) {
      const at::Tensor bound = linear->weight.std(1, true, true).mul(limit_);
      linear->weight = at::clamp(linear->weight, bound.neg(), bound);
      SWAGE_ASSIGN_OR_RETURN(Result result, quant::quantize(*linear, subset.target(*linear)));
      SWAGE_RETURN_IF_ERROR(subset.emit(*linear, std::move(result)));
    }
    return absl::OkStatus();
  }

 private:
  double limit_;
};

}  // namespace

SWAGE_ALGORITHM(MyMethod, "my-method");
