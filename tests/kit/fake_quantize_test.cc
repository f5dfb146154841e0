#include "swage/train/fake_quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/fixture.h"
#include "tests/kit/scheme.h"

namespace swage::train {
namespace {

using test::Format;
using ::testing::HasSubstr;

constexpr double kAtFour = 0.982013790037908442;  // sigmoid(4)

// group 0: a range a row.
Format format_of(int bits, int64_t group, bool symmetric = false,
                 const char* convention = "minmax") {
  test::Keys keys = {{"bits", bits}, {"symmetric", symmetric}, {"convention", convention}};
  keys.emplace("granularity", group == 0 ? "channel" : "group");
  if (group != 0) keys.insert({{"group", group}, {"group_tail", "short"}});
  return test::weight("int", std::move(keys));
}

at::Tensor rounded(const at::Tensor& weight, const Ends& limits, const Format& format) {
  const auto result = fake_quantize(weight, limits.low, limits.high, *format, at::kDouble);
  EXPECT_TRUE(result.ok()) << result.status();
  return *result;
}

TEST(LimitedWeight, ReproducesTheGoldenErrorsOfLimitsAtTheirStart) {
  const std::tuple<int, int64_t, double> golden[] = {
      {4, 0, .00584720127835}, {3, 8, .01767044088346}, {2, 8, .09989214844176}};
  const at::Tensor weight = test::f1().weight;
  for (const auto& [bits, group, expected] : golden) {
    const Format format = format_of(bits, group);
    const Ends ends = group_ends(weight, *format);
    const at::Tensor q = rounded(weight, {ends.low * kAtFour, ends.high * kAtFour}, format);
    EXPECT_NEAR((q - weight).square().sum().item<double>() / expected, 1, 1e-9) << bits;
  }
}

TEST(LimitedWeight, IsWhatQuantizeStores) {
  const at::Tensor weight = test::f5().weight.to(at::kFloat);
  for (const bool symmetric : {false, true}) {
    for (const int64_t group : {0, 8, 24}) {
      const Format format = format_of(3, group, symmetric);
      const Ends ends = group_ends(weight, *format);
      const at::Tensor low = ends.low * 0.7, high = ends.high * 0.9;
      const Result stored = test::quantized(weight, format, at::kBFloat16, low, high);
      const auto trial = fake_quantize(weight, low, high, *format, at::kBFloat16);
      ASSERT_TRUE(trial.ok());
      EXPECT_TRUE(trial->equal(decode(stored))) << symmetric << group;
    }
  }
}

// The value with the rounding residuals of `at` kept as they are: a smooth function of the limits,
// whose slopes are what straight-through gradients mean.
at::Tensor with_fixed_residuals(const at::Tensor& weight, const Ends& limits, const Ends& at,
                                const Format& format) {
  const auto wide = [&](const at::Tensor& groups) {
    return groups.repeat_interleave(format->group_width(weight.size(1)), 1)
        .narrow(1, 0, weight.size(1));
  };
  const auto inside = [&](const Ends& ends) {
    return at::clamp(weight, wide(ends.low), wide(ends.high));
  };
  const auto scales = [&](const Ends& ends) {
    return wide(test::grid_of(inside(ends), format).scale);
  };
  const at::Tensor residual = (rounded(weight, at, format) - inside(at)) / scales(at);
  return inside(limits) + residual * scales(limits);
}

TEST(LimitedWeight, GradientsAreSlopesAtFixedResiduals) {
  const at::Tensor weight = test::f1().weight;
  const at::Tensor pull = (at::arange(weight.numel(), at::kDouble) * 0.37).sin().view_as(weight);
  for (const std::string convention : {"minmax", "gptq", "full-range", "llmc"}) {
    for (const bool symmetric : {false, true}) {
      if (!symmetric && convention == "full-range") continue;
      for (const int64_t group : {0, 5, 8}) {
        const Format format = format_of(3, group, symmetric, convention.c_str());
        const Ends ends = group_ends(weight, *format);
        const Ends limits = {(ends.low * 0.81).requires_grad_(true),
                             (ends.high * 1.07).requires_grad_(true)};
        // One end is cut; the other one's limit lies outside and has no slope.
        rounded(weight, limits, format).backward(pull);
        constexpr double kStep = 1e-6;
        for (const bool of_low : {true, false}) {
          const at::Tensor& limit = of_low ? limits.low : limits.high;
          for (int64_t i = 0; i < limit.numel(); ++i) {
            const auto value = [&](double move) {
              Ends moved = {limits.low.detach().clone(), limits.high.detach().clone()};
              (of_low ? moved.low : moved.high).view(-1)[i] += move;
              const Ends fixed = {limits.low.detach(), limits.high.detach()};
              return (with_fixed_residuals(weight, moved, fixed, format) * pull)
                  .sum()
                  .item<double>();
            };
            const double slope = (value(kStep) - value(-kStep)) / (2 * kStep);
            EXPECT_NEAR(limit.grad().view(-1)[i].item<double>(), slope, 1e-6)
                << format->describe() << " " << convention << " group " << group
                << (of_low ? " low " : " high ") << i;
          }
        }
      }
    }
  }
}

TEST(LimitedWeight, WeightsWithinTheLimitsGetTheGradientAsItIs) {
  const at::Tensor weight = test::f1().weight.clone().requires_grad_(true);
  const Format format = format_of(4, 8);
  const Ends ends = group_ends(weight.detach(), *format);
  const Ends limits = {ends.low * 0.5, ends.high * 0.5};
  const at::Tensor pull = at::ones({8, 16}, at::kDouble) * 3;
  rounded(weight, limits, format).backward(pull);
  const at::Tensor inside =
      weight.detach()
          .ge(limits.low.repeat_interleave(8, 1))
          .logical_and(weight.detach().le(limits.high.repeat_interleave(8, 1)));
  EXPECT_TRUE(weight.grad().equal(pull * inside));
  EXPECT_LT(inside.sum().item<int64_t>(), weight.numel());
}

TEST(LimitedWeight, RefusesFormatsWithoutRangesOfTheirOwn) {
  const at::Tensor weight = at::ones({2, 2});
  for (const Format& format : {test::weight("fp8-e4m3", {{"granularity", "tensor"}}),
                               test::with(format_of(4, 2), {{"group_scale", "int8"}})}) {
    const auto status = fake_quantize(weight, weight, weight, *format, at::kFloat).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("range limits are learned for formats with levels of their own for "
                          "every group of a row, not for " +
                          format->describe()));
  }
}

}  // namespace
}  // namespace swage::train
