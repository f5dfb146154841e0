#include "swage/plugin.h"
#include "swage/solve/column_sweep.h"

namespace {

using namespace swage;

// Quantizes columns in order and spreads each rounding error over the columns that follow (Frantar
// et al. 2022). Calibrates on compressed activations, so later subsets make up for earlier ones.
class Gptq final : public Algorithm {
 public:
  explicit Gptq(const Params& params)
      : damping_(params.f64("damping")),
        search_ranges_(params.flag("search_ranges")),
        order_(params.choice<solve::Order>("order", {"natural", "activation"})) {}

  Needs needs() const override { return Needs().hessian().calibrate_on(Stream::kCompressed); }

  absl::Status subset_transform(SubsetContext& subset) override {
    SWAGE_ASSIGN_OR_RETURN(const solve::Factor factor,
                           solve::factorize(subset.hessian(), damping_, order_));
    if (!factor.remark.empty()) subset.note(subset.subset().name + ": " + factor.remark);
    for (Linear* linear : subset.linears()) {
      WeightScheme scheme = subset.weight_scheme(*linear);
      if (search_ranges_) scheme.range = RangeRule::kMse;
      SWAGE_ASSIGN_OR_RETURN(solve::Swept swept, solve::column_sweep(*linear, factor, scheme,
                                                                     subset.scale_dtype(*linear)));
      SWAGE_RETURN_IF_ERROR(subset.emit(*linear, std::move(swept.result)));
    }
    return absl::OkStatus();
  }

 private:
  const double damping_;
  const bool search_ranges_;
  const solve::Order order_;
};

}  // namespace

SWAGE_ALGORITHM(Gptq, "gptq");
