#include "absl/strings/match.h"
#include "swage/plugin.h"
#include "swage/transform/online.h"
#include "swage/transform/rotate.h"

namespace {

using namespace swage;

constexpr absl::string_view kAttentionOutput = "attention.output";

// Spreads outliers over all channels by rotations that leave the function as it is: of the residual
// stream, and of the values within each head (Ashkboos et al. 2024). Both are folded into weights,
// so any engine serves the result. On request also of the inputs of down projections, which takes
// an engine that transforms them. A transform only: steps that quantize follow.
class QuaRot final : public Algorithm {
 public:
  explicit QuaRot(const Params& params)
      : kind_(params.choice<transform::Rotation>("rotation", {"hadamard", "random"})),
        residual_(params.flag("residual")),
        values_(params.flag("values")),
        online_(params.flag("online")) {}

  Needs needs() const override { return online_ ? Needs().online_transforms() : Needs(); }

  absl::Status model_transform(ModelContext& model) override {
    if (!residual_) return absl::OkStatus();
    const bool keeps_mean = model.head().residual_sites().norm_subtracts_mean;
    const auto random = [&](uint64_t counter) { return model.random(counter); };
    basis_ = transform::random_rotation(model.shape().hidden_size, kind_, keeps_mean, random);
    SWAGE_RETURN_IF_ERROR(transform::rotate_residual(model.embedding(), basis_));
    return transform::rotate_residual(model.head(), basis_);
  }

  absl::Status block_transform(BlockContext& block) override {
    if (residual_) SWAGE_RETURN_IF_ERROR(transform::rotate_residual(block.block(), basis_));
    return Algorithm::block_transform(block);
  }

  absl::Status subset_transform(SubsetContext& subset) override {
    if (online_ && is_mlp_output(subset.subset())) {
      const int64_t wide = subset.linears().front()->in();
      return transform::transform_input(
          subset.subset(), std::make_shared<const transform::OnlineTransform>(
                               transform::OnlineTransform::widest(wide, subset.random(0))));
    }
    const int64_t width = subset.subset().fold.head_dim;
    if (!values_ || width == 0) return absl::OkStatus();
    const auto random = [&](uint64_t counter) { return subset.random(counter); };
    return transform::rotate_values(subset.subset(),
                                    transform::random_rotation(width, kind_, false, random));
  }

 private:
  // Of an MLP or an expert: "mlp.output", "experts.3.output".
  static bool is_mlp_output(const Subset& subset) {
    return absl::EndsWith(subset.name, ".output") && subset.name != kAttentionOutput;
  }

  const transform::Rotation kind_;
  const bool residual_, values_, online_;
  at::Tensor basis_;
};

}  // namespace

SWAGE_ALGORITHM(QuaRot, "quarot");
