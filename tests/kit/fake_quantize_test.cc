#include "swage/train/fake_quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/quant/quantizer.h"
#include "tests/kit/fixture.h"

namespace swage::train {
namespace {

using ::testing::HasSubstr;

constexpr double kAtFour = 0.982013790037908442;  // sigmoid(4)

WeightScheme scheme_of(int bits, int64_t group, bool symmetric = false,
                       Convention convention = Convention::kMinmax) {
  WeightScheme scheme;
  scheme.bits = bits;
  scheme.granularity = group == 0 ? Granularity::kChannel : Granularity::kGroup;
  scheme.group_size = group;
  scheme.group_tail_short = true;
  scheme.symmetric = symmetric;
  scheme.convention = convention;
  return scheme;
}

at::Tensor rounded(const at::Tensor& weight, const Ends& limits, const WeightScheme& scheme) {
  const auto result = fake_quantize(weight, limits.low, limits.high, scheme, at::kDouble);
  EXPECT_TRUE(result.ok()) << result.status();
  return *result;
}

TEST(LimitedWeight, ReproducesTheGoldenErrorsOfLimitsAtTheirStart) {
  const std::tuple<int, int64_t, double> golden[] = {
      {4, 0, .00584720127835}, {3, 8, .01767044088346}, {2, 8, .09989214844176}};
  const at::Tensor weight = test::f1().weight;
  for (const auto& [bits, group, expected] : golden) {
    const WeightScheme scheme = scheme_of(bits, group);
    const Ends ends = group_ends(weight, scheme);
    const at::Tensor q = rounded(weight, {ends.low * kAtFour, ends.high * kAtFour}, scheme);
    EXPECT_NEAR((q - weight).square().sum().item<double>() / expected, 1, 1e-9) << bits;
  }
}

TEST(LimitedWeight, IsWhatQuantizeStores) {
  Linear linear;
  linear.name = "layer.proj";
  linear.weight = test::f5().weight.to(at::kFloat);
  for (const bool symmetric : {false, true}) {
    for (const int64_t group : {0, 8, 24}) {
      const WeightScheme scheme = scheme_of(3, group, symmetric);
      const Ends ends = group_ends(linear.weight, scheme);
      linear.clip_low = ends.low * 0.7;
      linear.clip_high = ends.high * 0.9;
      const auto stored = quant::quantize(linear, scheme, at::kBFloat16);
      ASSERT_TRUE(stored.ok());
      const auto trial =
          fake_quantize(linear.weight, linear.clip_low, linear.clip_high, scheme, at::kBFloat16);
      ASSERT_TRUE(trial.ok());
      EXPECT_TRUE(trial->equal(decode(*stored))) << symmetric << group;
    }
  }
}

// The value with the rounding residuals of `at` kept as they are: a smooth function of the limits,
// whose slopes are what straight-through gradients mean.
at::Tensor with_fixed_residuals(const at::Tensor& weight, const Ends& limits, const Ends& at,
                                const WeightScheme& scheme) {
  const auto inside = [&](const Ends& ends) {
    const int64_t width = scheme.group_width(weight.size(1));
    const auto wide = [&](const at::Tensor& limit) {
      return limit.repeat_interleave(width, 1).narrow(1, 0, weight.size(1));
    };
    return at::clamp(weight, wide(ends.low), wide(ends.high));
  };
  const auto scales = [&](const Ends& ends) {
    const quant::Grid grid = *quant::find_grid(inside(ends), scheme, at::kDouble);
    return grid.scales.repeat_interleave(scheme.group_width(weight.size(1)), 1)
        .narrow(1, 0, weight.size(1));
  };
  const at::Tensor residual = (rounded(weight, at, scheme) - inside(at)) / scales(at);
  return inside(limits) + residual * scales(limits);
}

TEST(LimitedWeight, GradientsAreSlopesAtFixedResiduals) {
  const at::Tensor weight = test::f1().weight;
  const at::Tensor pull = (at::arange(weight.numel(), at::kDouble) * 0.37).sin().view_as(weight);
  for (const auto convention :
       {Convention::kMinmax, Convention::kGptq, Convention::kFullRange, Convention::kLlmc}) {
    for (const bool symmetric : {false, true}) {
      for (const int64_t group : {0, 5, 8}) {
        const WeightScheme scheme = scheme_of(3, group, symmetric, convention);
        const Ends ends = group_ends(weight, scheme);
        const Ends limits = {(ends.low * 0.81).requires_grad_(true),
                             (ends.high * 1.07).requires_grad_(true)};
        // One end is cut; the other one's limit lies outside and has no slope.
        rounded(weight, limits, scheme).backward(pull);
        constexpr double kStep = 1e-6;
        for (const bool of_low : {true, false}) {
          const at::Tensor& limit = of_low ? limits.low : limits.high;
          for (int64_t i = 0; i < limit.numel(); ++i) {
            const auto value = [&](double move) {
              Ends moved = {limits.low.detach().clone(), limits.high.detach().clone()};
              (of_low ? moved.low : moved.high).view(-1)[i] += move;
              const Ends fixed = {limits.low.detach(), limits.high.detach()};
              return (with_fixed_residuals(weight, moved, fixed, scheme) * pull)
                  .sum()
                  .item<double>();
            };
            const double slope = (value(kStep) - value(-kStep)) / (2 * kStep);
            EXPECT_NEAR(limit.grad().view(-1)[i].item<double>(), slope, 1e-6)
                << describe(scheme) << " convention " << static_cast<int>(convention) << " group "
                << group << (of_low ? " low " : " high ") << i;
          }
        }
      }
    }
  }
}

TEST(LimitedWeight, WeightsWithinTheLimitsGetTheGradientAsItIs) {
  const at::Tensor weight = test::f1().weight.clone().requires_grad_(true);
  const WeightScheme scheme = scheme_of(4, 8);
  const Ends ends = group_ends(weight.detach(), scheme);
  const Ends limits = {ends.low * 0.5, ends.high * 0.5};
  const at::Tensor pull = at::ones({8, 16}, at::kDouble) * 3;
  rounded(weight, limits, scheme).backward(pull);
  const at::Tensor inside =
      weight.detach()
          .ge(limits.low.repeat_interleave(8, 1))
          .logical_and(weight.detach().le(limits.high.repeat_interleave(8, 1)));
  EXPECT_TRUE(weight.grad().equal(pull * inside));
  EXPECT_LT(inside.sum().item<int64_t>(), weight.numel());
}

TEST(LimitedWeight, RefusesSchemesWithoutLimits) {
  WeightScheme scheme;
  scheme.format = NumberFormat::kFp8E4M3;
  scheme.bits = 8;
  const at::Tensor weight = at::ones({2, 2});
  EXPECT_THAT(
      std::string(fake_quantize(weight, weight, weight, scheme, at::kFloat).status().message()),
      HasSubstr("range limits are learned for integers"));
}

}  // namespace
}  // namespace swage::train
