#include "swage/plugin.h"
#include "swage/quant/quantizer.h"

namespace {

using namespace swage;

// Round to nearest: the base line, and for 8 bits and fp8 often all that is needed. Free of data.
class Rtn final : public Algorithm {
 public:
  explicit Rtn(const Params&) {}

  absl::Status subset_transform(SubsetContext& subset) override {
    for (Linear* linear : subset.linears()) {
      SWAGE_ASSIGN_OR_RETURN(Result result, quant::quantize(*linear, subset.target(*linear)));
      SWAGE_RETURN_IF_ERROR(subset.emit(*linear, std::move(result)));
    }
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_ALGORITHM(Rtn, "rtn");
