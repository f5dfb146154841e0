// Round to nearest and GPTQ of one small layer for 2 to 8 bits, as a plain program in fp64 computes
// them: splitmix64, sums of twelve uniforms less 6.
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "swage/solve/column_sweep.h"
#include "tests/kit/golden_random.h"
#include "tests/kit/scheme.h"

namespace swage {
namespace {

struct Layer {
  at::Tensor weight = test::gaussians(1, 16, 32), hessian;
  Layer() {
    const at::Tensor noise = test::gaussians(2, 64, 32);
    at::Tensor input = noise + 0.5 * noise.roll({-1}, {1});
    for (int64_t j = 3; j < 32; j += 8) input.select(1, j).add_(noise.select(1, j), 3);
    hessian = input.t().mm(input) / 64;
  }
  double loss(const at::Tensor& value) const {
    const at::Tensor difference = weight - value;
    return (difference.mm(hessian) * difference).sum().item<double>();
  }
};

TEST(GoldenTable, HasItsInputs) {
  const Layer layer;
  EXPECT_NEAR(layer.weight.sum().item<double>(), -61.38845617136754, 1e-11);
  EXPECT_NEAR(layer.hessian.trace().item<double>(), 99.82773140091905, 1e-11);
  EXPECT_NEAR(layer.loss(at::zeros_like(layer.weight)), 1597.2039249477828, 1e-9);
}

TEST(GoldenTable, IsWhatRoundingAndGptqGive) {
  struct Row {
    int64_t bits;
    double symmetric[2], asymmetric[2];  // round to nearest, GPTQ
  };
  constexpr Row kRows[] = {{2, {716.430690, 494.041567}, {212.038255, 169.935996}},
                           {3, {66.584095, 51.470792}, {46.242201, 33.283797}},
                           {4, {12.651357, 9.589525}, {11.130271, 7.441940}},
                           {8, {0.037701, 0.028192}, {0.027501, 0.021457}}};
  const Layer layer;
  const auto factor = solve::factorize(layer.hessian, 0.01, solve::Order::kNatural);
  ASSERT_TRUE(factor.ok()) << factor.status();
  for (const Row& row : kRows) {
    for (const bool symmetric : {true, false}) {
      const test::Format format = test::weight(
          "int", {{"bits", row.bits}, {"granularity", "channel"}, {"symmetric", symmetric}});
      const auto& expected = symmetric ? row.symmetric : row.asymmetric;
      EXPECT_NEAR(layer.loss(test::rounded(layer.weight, format)), expected[0], 1e-6);
      const quant::ScalarGrid grid = test::grid_of(layer.weight, format);
      const at::Tensor codes = solve::sweep_codes(layer.weight, *factor, grid, {}, nullptr);
      EXPECT_NEAR(layer.loss(quant::decode(codes, grid)), expected[1], 1e-6)
          << row.bits << " bits, symmetric: " << symmetric;
    }
  }
}

// Four free levels of 64 numbers: what Lloyd's rounds from quantiles end at is the optimum.
TEST(GoldenTable, HasTheOptimalCodebook) {
  const at::Tensor numbers = test::gaussians(1, 1, 64);
  const test::Format format = test::weight("codebook", {{"bits", int64_t{2}}});
  const Parts parts = format->encode(numbers, test::levels_of(numbers, format, {}));
  const at::Tensor table = part(parts, "table");
  const double expected[] = {-1.26142916, -.46462826, .35765773, 1.40124556};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(table[0][i].item<double>(), expected[i], 1e-6);
  EXPECT_NEAR((format->decode(parts, 1, 64) - numbers).square().sum().item<double>(),
              5.000269527428, 1e-5);
}

}  // namespace
}  // namespace swage
