#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "plugin_support.h"

namespace swage {
namespace {

using testing_support::loader;
using testing_support::must;

// One subset with one reader of 4096 channels; remembers what was folded.
class FakeSubset final : public SubsetContext {
 public:
  FakeSubset() {
    linear_.weight = at::ones({2, 4096});
    subset_.name = "mlp.down";
    subset_.linears = {&linear_};
  }
  Block& block() override { throw std::logic_error("not asked for"); }
  Target target(const Linear&) const override { return {}; }
  std::shared_ptr<const Codec> activation_codec(const Linear&) const override { return nullptr; }
  absl::Status emit(Linear&, Result) override { return absl::InternalError("not asked for"); }
  void note(std::string_view text) override { notes.emplace_back(text); }
  uint64_t random(uint64_t counter) const override {  // splitmix64
    uint64_t z = (counter + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  Subset& subset() override { return subset_; }
  const std::vector<Linear*>& linears() override { return subset_.linears; }
  const SubsetStats& stats() override { return stats_; }
  at::Tensor inspect(const Slots&) override { return {}; }
  absl::Status fold(const at::Tensor& scale) override {
    folded = scale;
    return absl::OkStatus();
  }

  at::Tensor folded;
  std::vector<std::string> notes;

 private:
  Linear linear_;
  Subset subset_;
  SubsetStats stats_;
};

at::Tensor folded(FakeSubset& subset, double sigma, int64_t seed) {
  const auto algorithm =
      must(loader().algorithm("rescale", Params({{"sigma", sigma}, {"seed", seed}})));
  const absl::Status status = algorithm->subset_transform(subset);
  EXPECT_TRUE(status.ok()) << status;
  return subset.folded;
}

TEST(Rescale, FoldsLogNormalFactorsThatTheSeedFixes) {
  FakeSubset subset;
  subset.subset().fold.kind = FoldTarget::Kind::kNorm;
  const at::Tensor factors = folded(subset, 0.2, 0);
  EXPECT_EQ(factors.scalar_type(), at::kFloat);
  EXPECT_NEAR(factors.log().mean().item<double>(), 0, 0.01);
  EXPECT_NEAR(factors.log().std().item<double>(), 0.2, 0.01);
  EXPECT_TRUE(at::equal(factors, folded(subset, 0.2, 0)));
  EXPECT_FALSE(at::equal(factors, folded(subset, 0.2, 1)));
  EXPECT_TRUE(at::equal(folded(subset, 0, 0), at::ones({4096})));
}

TEST(Rescale, GivesChannelsOfOneRowOneFactor) {
  FakeSubset subset;
  subset.subset().fold.kind = FoldTarget::Kind::kLinearRows;
  const at::Tensor row_of_channel = at::arange(4096).fmod(64).add(9000);  // rows of a fused tensor
  subset.subset().fold.row_of_channel = row_of_channel.to(at::kLong);
  const at::Tensor factors = folded(subset, 0.2, 0).view({64, 64});
  EXPECT_TRUE(at::equal(factors, factors[0].expand({64, 64})));
  EXPECT_GT(factors[0].std().item<double>(), 0.1);
}

TEST(Rescale, LeavesASubsetWithoutAFoldTargetAndSaysSo) {
  FakeSubset subset;
  subset.subset().fold.why_none = "gelu between fc1 and fc2";
  EXPECT_FALSE(folded(subset, 0.2, 0).defined());
  EXPECT_EQ(subset.notes,
            std::vector<std::string>{"not rescaled: mlp.down: gelu between fc1 and fc2"});
}

}  // namespace
}  // namespace swage
