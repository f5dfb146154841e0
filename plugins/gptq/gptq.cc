#include <algorithm>
#include <numeric>

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
        order_(params.choice<solve::Order>("order", {"natural", "activation"})),
        dead_(params.choice<solve::Dead>("dead", {"zero", "nearest"})) {}

  Needs needs() const override { return Needs().hessian().calibrate_on(Stream::kCompressed); }

  absl::Status subset_transform(SubsetContext& subset) override {
    int64_t block = 1;
    for (Linear* linear : subset.linears())
      block = std::lcm(block, std::max<int64_t>(1, subset.target(*linear).codec->block_columns()));
    SWAGE_ASSIGN_OR_RETURN(const solve::Factor factor,
                           solve::factorize(subset.hessian(), damping_, order_, block));
    if (!factor.remark.empty()) subset.note(subset.subset().name + ": " + factor.remark);
    solve::SweepOptions options;
    options.dead = dead_;
    for (Linear* linear : subset.linears()) {
      Target target = subset.target(*linear);
      if (search_ranges_ && !target.codec->wants_importance()) target.request.range = "mse";
      SWAGE_ASSIGN_OR_RETURN(solve::Swept swept,
                             solve::column_sweep(*linear, factor, target, options));
      SWAGE_RETURN_IF_ERROR(subset.emit(*linear, std::move(swept.result)));
    }
    return absl::OkStatus();
  }

 private:
  const double damping_;
  const bool search_ranges_;
  const solve::Order order_;
  const solve::Dead dead_;
};

}  // namespace

SWAGE_ALGORITHM(Gptq, "gptq");
