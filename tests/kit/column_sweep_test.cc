#include "swage/solve/column_sweep.h"

#include <ATen/ops/diag.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/fixture.h"
#include "tests/kit/scheme.h"

namespace swage {
namespace {

using quant::ScalarGrid;
using solve::Factor;
using solve::Order;
using solve::Rung;
using test::f1;
using test::f5;
using test::Fixture;
using test::Format;
using test::grid_of;
using ::testing::HasSubstr;

Format gptq_format(int bits, int64_t group = 0) {
  test::Keys keys = {{"bits", bits}, {"symmetric", false}, {"convention", "gptq"}};
  keys.emplace("granularity", group ? "group" : "channel");
  if (group) keys.emplace("group", group);
  return test::weight("int", std::move(keys));
}

Factor factor_of(const at::Tensor& hessian, Order order = Order::kNatural, double damping = 0.01) {
  auto factor = solve::factorize(hessian, damping, order);
  EXPECT_TRUE(factor.ok()) << factor.status();
  return *std::move(factor);
}

// The official form: U from the inverse of the damped Hessian, errors spread over the columns that
// follow.
at::Tensor official_sweep(const at::Tensor& weight, const at::Tensor& inverse_factor,
                          const ScalarGrid& grid) {
  at::Tensor w = weight.clone(), codes = at::empty(weight.sizes(), at::kChar);
  for (int64_t c = 0; c < weight.size(1); ++c) {
    ScalarGrid one = grid;
    one.scale = grid.scale.narrow(1, c / grid.width, 1);
    if (grid.zero.defined()) one.zero = grid.zero.narrow(1, c / grid.width, 1);
    one.width = 1;
    const at::Tensor code = quant::encode_plain(w.narrow(1, c, 1), one);
    codes.narrow(1, c, 1).copy_(code);
    const at::Tensor error = (w.narrow(1, c, 1) - quant::decode(code, one)) / inverse_factor[c][c];
    w -= error.mm(inverse_factor.narrow(0, c, 1));
  }
  return codes;
}

struct Outcome {
  at::Tensor codes, value;
  double loss = 0;
};

Outcome sweep(const Fixture& fixture, const Format& format, Order order, double damping = 0.01) {
  const Factor factor = factor_of(fixture.hessian(), order, damping);
  const ScalarGrid grid = grid_of(fixture.weight, format);
  Outcome run, plain;
  run.codes = solve::sweep_codes(fixture.weight, factor, grid, {}, &run.loss);
  run.value = quant::decode(run.codes, grid);
  plain.codes = solve::sweep_codes_plain(fixture.weight, factor, grid, {}, &plain.loss);
  // As bytes: codes of fp8 are compared too.
  EXPECT_TRUE(at::equal(run.codes.view(at::kByte), plain.codes.view(at::kByte)))
      << "blocked and plain sweeps differ";
  EXPECT_NEAR(run.loss / plain.loss, 1, 1e-12);
  return run;
}

// Groups whose ranges are taken when the sweep reaches them, composed from the public parts: the
// weight that a group has by then is W + S R_gg⁻¹, and sweeping it with R_gg alone gives what the
// whole sweep would.
at::Tensor sweep_fresh_groups(const Fixture& fixture, const Format& channel, int64_t width) {
  const Factor factor = factor_of(fixture.hessian());
  at::Tensor value = fixture.weight.clone();
  for (int64_t first = 0; first < value.size(1); first += width) {
    Factor part;
    part.r = factor.r.narrow(0, first, width).narrow(1, first, width).contiguous();
    part.order = at::arange(0, width, at::kLong);
    part.dead = at::zeros({width}, at::kBool);
    at::Tensor weight = fixture.weight.narrow(1, first, width).clone();
    if (first > 0) {
      const at::Tensor errors = (fixture.weight - value).narrow(1, 0, first);
      const at::Tensor carry = errors.mm(factor.r.narrow(0, 0, first).narrow(1, first, width));
      weight += at::linalg_solve(part.r.t(), carry.t()).t();
    }
    const ScalarGrid grid = grid_of(weight, channel);
    value.narrow(1, first, width)
        .copy_(quant::decode(solve::sweep_codes(weight, part, grid, {}, nullptr), grid));
  }
  return value;
}

std::vector<int> unsigned_row(const at::Tensor& codes, int64_t row) {
  std::vector<int> result;
  for (int64_t c = 0; c < codes.size(1); ++c) result.push_back(codes[row][c].item<int>() + 8);
  return result;
}

TEST(ColumnSweep, GivesTheGoldenCodesPerChannel) {
  const Fixture fixture = f1();
  const Outcome run = sweep(fixture, gptq_format(4), Order::kNatural);
  EXPECT_EQ(unsigned_row(run.codes, 0),
            (std::vector<int>{2, 7, 9, 13, 3, 10, 13, 10, 4, 15, 4, 15, 0, 3, 14, 7}));
  EXPECT_EQ(unsigned_row(run.codes, 7),
            (std::vector<int>{4, 11, 0, 15, 9, 4, 10, 13, 10, 7, 10, 13, 9, 4, 12, 2}));
  EXPECT_NEAR(fixture.error(run.value), 10.41154927, 1e-7);
  EXPECT_NEAR(run.loss, 5.42794067, 1e-7);
  EXPECT_NEAR((run.value - fixture.weight).square().sum().item<double>(), .01131571, 1e-8);
}

TEST(ColumnSweep, GivesTheGoldenErrorsWithActivationOrder) {
  const Fixture fixture = f1();
  const Outcome channel = sweep(fixture, gptq_format(4), Order::kActivation);
  EXPECT_NEAR(fixture.error(channel.value), 8.15871477, 1e-7);
  EXPECT_NEAR(channel.loss, 4.57530572, 1e-7);
  const Outcome groups = sweep(fixture, gptq_format(4, 8), Order::kActivation);
  EXPECT_NEAR(fixture.error(groups.value), 5.63907269, 1e-7);
  EXPECT_NEAR(groups.loss, 3.08809051, 1e-7);
  EXPECT_EQ(unsigned_row(groups.codes, 0),
            (std::vector<int>{0, 7, 8, 15, 0, 11, 13, 11, 2, 15, 4, 15, 0, 3, 13, 7}));
}

TEST(ColumnSweep, GivesTheGoldenErrorsOfGroups) {
  const Fixture fixture = f1();
  const Outcome groups = sweep(fixture, gptq_format(4, 8),
                               Order::kNatural);  // static: as the official stale ones here
  EXPECT_NEAR(fixture.error(groups.value), 6.86495141, 1e-7);
  EXPECT_NEAR(groups.loss, 3.57656778, 1e-7);
  EXPECT_NEAR(fixture.error(sweep_fresh_groups(fixture, gptq_format(4), 8)), 6.72989333, 1e-7);
}

TEST(ColumnSweep, GivesTheGoldenErrorOfGroupsOfPermutedColumns) {
  Fixture fixture = f1();
  const at::Tensor order = factor_of(fixture.hessian(), Order::kActivation).order;
  fixture.weight = fixture.weight.index_select(1, order);
  fixture.input = fixture.input.index_select(1, order);
  const Outcome run = sweep(fixture, gptq_format(4, 8), Order::kNatural);
  EXPECT_NEAR(fixture.error(run.value), 14.18067378, 1e-7);
}

TEST(ColumnSweep, GivesTheGoldenErrorsOfTheBenignLayer) {
  const Fixture fixture = f5();
  struct Row {
    int bits;
    double rtn, natural, activation;
  };
  const double outputs = 2.0 * 256 * 32;
  for (const Row& row : {Row{2, .2463836, .1737838, .1613119}, Row{3, .0510615, .0358424, .0311150},
                         Row{4, .0125091, .0084023, .0073269}}) {
    const Format format = gptq_format(row.bits);
    const auto error = [&](const at::Tensor& value) { return fixture.error(value) / outputs; };
    EXPECT_NEAR(error(test::rounded(fixture.weight, format)), row.rtn, 1e-7);
    EXPECT_NEAR(error(sweep(fixture, format, Order::kNatural).value), row.natural, 1e-7);
    EXPECT_NEAR(error(sweep(fixture, format, Order::kActivation).value), row.activation, 1e-7);
  }
}

TEST(ColumnSweep, AgreesWithTheInverseForm) {
  for (const Fixture& fixture : {f1(), f5()}) {
    const Factor factor = factor_of(fixture.hessian());
    const at::Tensor inverse_factor = at::linalg_inv(factor.r);
    for (const int bits : {2, 3, 4}) {
      for (const int64_t group : {0, 8}) {
        const ScalarGrid grid = grid_of(fixture.weight, gptq_format(bits, group));
        EXPECT_TRUE(at::equal(solve::sweep_codes(fixture.weight, factor, grid, {}, nullptr),
                              official_sweep(fixture.weight, inverse_factor, grid)));
      }
    }
  }
}

TEST(ColumnSweep, LossIsHalfTheDampedError) {
  const Fixture fixture = f1();
  const Outcome run = sweep(fixture, gptq_format(4), Order::kActivation);
  at::Tensor damped = fixture.hessian();
  damped.diagonal().add_(0.01 * damped.diagonal().mean().item<double>());
  const at::Tensor difference = run.value - fixture.weight;
  EXPECT_NEAR(run.loss, 0.5 * (difference.mm(damped) * difference).sum().item<double>(), 1e-10);
}

TEST(ColumnSweep, NeverBeatsTheBruteForceOptimum) {
  struct Seed {
    uint32_t seed;
    double optimum, swept, rounded;
    std::vector<int> codes;
  };
  for (const Seed& expected : {Seed{2, 1.0966522751, 1.9066939349, 2.4660716274, {0, 2, 0, 2, 1}},
                               Seed{3, .0546704618, .0546704618, .0944, {3, 1, 3, 0, 3}},
                               Seed{4, .0967948164, .0967948164, .27649, {2, 3, 3, 0, 2}}}) {
    SCOPED_TRACE(expected.seed);
    const Fixture fixture = test::fixture(expected.seed, 1, 5, 40, {}, .9);
    const ScalarGrid grid = grid_of(fixture.weight, gptq_format(2));
    double optimum = 1e9;
    for (int n = 0; n < 1024; ++n) {
      const at::Tensor codes =
          at::tensor({n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3, n >> 8 & 3}, at::kInt)
              .view({1, 5}) -
          2;
      optimum = std::min(optimum, fixture.error(quant::decode(codes.to(at::kChar), grid)));
    }
    EXPECT_NEAR(optimum, expected.optimum, 1e-9);
    const Outcome run = sweep(fixture, gptq_format(2), Order::kNatural);
    EXPECT_NEAR(fixture.error(run.value), expected.swept, 1e-9);
    EXPECT_GE(fixture.error(run.value), optimum - 1e-12);
    EXPECT_NEAR(fixture.error(quant::round_trip(fixture.weight, grid)), expected.rounded, 1e-4);
    std::vector<int> codes;
    for (int c = 0; c < 5; ++c) codes.push_back(run.codes[0][c].item<int>() + 2);
    EXPECT_EQ(codes, expected.codes);
  }
}

TEST(ColumnSweep, IsRoundToNearestWhereColumnsDoNotInteract) {
  const Fixture fixture = f5();
  const ScalarGrid grid = grid_of(fixture.weight, gptq_format(3));
  const at::Tensor nearest = quant::encode(fixture.weight, grid);
  const at::Tensor diagonal = at::diag(fixture.hessian().diagonal());
  EXPECT_TRUE(at::equal(solve::sweep_codes(fixture.weight, factor_of(diagonal), grid, {}, nullptr),
                        nearest));
  const Factor damped = factor_of(fixture.hessian(), Order::kNatural, 1e12);
  EXPECT_TRUE(at::equal(solve::sweep_codes(fixture.weight, damped, grid, {}, nullptr), nearest));
}

TEST(ColumnSweep, DoesNotDependOnTheScaleOfTheHessian) {
  const Fixture fixture = f5();
  const ScalarGrid grid = grid_of(fixture.weight, gptq_format(3));
  const auto codes = [&](double scale) {
    return solve::sweep_codes(fixture.weight, factor_of(fixture.hessian() * scale), grid, {},
                              nullptr);
  };
  EXPECT_TRUE(at::equal(codes(1), codes(2)));
  EXPECT_TRUE(at::equal(codes(1), codes(1e-3)));
}

TEST(ColumnSweep, ActivationOrderFollowsPermutedColumns) {
  const Fixture fixture = f5();
  const at::Tensor flip = at::arange(63, -1, -1, at::kLong);
  Fixture flipped{fixture.weight.index_select(1, flip), fixture.input.index_select(1, flip)};
  const Outcome run = sweep(fixture, gptq_format(3), Order::kActivation),
                other = sweep(flipped, gptq_format(3), Order::kActivation);
  EXPECT_TRUE(at::equal(other.codes.index_select(1, flip), run.codes));
}

TEST(ColumnSweep, RowsAreIndependent) {
  const Fixture fixture = test::fixture(7, 160, 200, 400, {{3, 20}});
  const at::Tensor weight = fixture.weight.to(at::kFloat);
  const Factor factor = factor_of(fixture.hessian().to(at::kFloat), Order::kActivation);
  const auto codes = [&](const at::Tensor& w) {
    return solve::sweep_codes(w, factor, grid_of(w, gptq_format(4, 8), at::kBFloat16), {}, nullptr);
  };
  EXPECT_TRUE(at::equal(codes(weight).narrow(0, 64, 96), codes(weight.narrow(0, 64, 96))));
}

TEST(ColumnSweep, SinglePrecisionGivesTheCodesOfDouble) {
  const Fixture fixture = test::fixture(7, 16, 256, 600, {{3, 20}, {50, 8}, {200, 30}});
  const ScalarGrid grid = grid_of(fixture.weight, gptq_format(4));
  ScalarGrid single = grid;
  single.scale = grid.scale.to(at::kFloat);
  single.zero = grid.zero.to(at::kFloat);
  single.decoded = at::kFloat;
  double loss = 0;
  const at::Tensor codes =
      solve::sweep_codes(fixture.weight.to(at::kFloat), factor_of(fixture.hessian().to(at::kFloat)),
                         single, {}, &loss);
  const at::Tensor wide =
      solve::sweep_codes(fixture.weight, factor_of(fixture.hessian()), grid, {}, nullptr);
  EXPECT_TRUE(at::equal(codes, wide)) << (codes != wide).sum();
  EXPECT_NEAR(loss, 1706.2734, 2e-2);
}

TEST(ColumnSweep, FastTilesGiveTheErrorOfThePlainSweep) {
  for (const at::ScalarType storage : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const int64_t rows : {1, 15, 16, 70, 130}) {
      const Fixture fixture = test::fixture(11, rows, 150, 300, {{3, 20}});
      const at::Tensor weight = fixture.weight.to(at::kFloat);
      const Factor factor = factor_of(fixture.hessian().to(at::kFloat), Order::kActivation);
      const ScalarGrid grid = grid_of(weight, gptq_format(4, 50), storage);
      double loss = 0, reference = 0;
      const at::Tensor codes = solve::sweep_codes(weight, factor, grid, {}, &loss);
      const at::Tensor plain = solve::sweep_codes_plain(weight, factor, grid, {}, &reference);
      EXPECT_LE((codes != plain).sum().item<int64_t>(), rows * 150 / 200) << rows;
      EXPECT_NEAR(loss / reference, 1, 2e-2);
    }
  }
}

TEST(ColumnSweep, FastTilesRoundZeroPointsInFloatsAsThePlainSweepDoes) {
  const Fixture fixture = test::fixture(11, 70, 192, 400, {{3, 20}});
  const at::Tensor weight = fixture.weight.to(at::kFloat);
  const Factor factor = factor_of(fixture.hessian().to(at::kFloat), Order::kActivation);
  const test::Keys keys = {{"group", 32}, {"symmetric", false}, {"zero", "float"}};
  for (const char* convention : {"minmax", "gptq", "llmc"}) {
    const Format format = test::with(test::weight("int", keys), {{"convention", convention}});
    const ScalarGrid grid = grid_of(weight, format, at::kHalf);
    EXPECT_TRUE(grid.zero.ne(grid.zero.round()).any().item<bool>());
    double loss = 0, reference = 0;
    const at::Tensor codes = solve::sweep_codes(weight, factor, grid, {}, &loss);
    const at::Tensor plain = solve::sweep_codes_plain(weight, factor, grid, {}, &reference);
    EXPECT_LE((codes != plain).sum().item<int64_t>(), 70 * 192 / 200) << convention;
    EXPECT_NEAR(loss / reference, 1, 2e-2);
    EXPECT_LT(fixture.error(quant::decode(codes, grid).to(at::kDouble)),
              fixture.error(test::rounded(weight, format, at::kHalf).to(at::kDouble)));
  }
}

TEST(ColumnSweep, DeadColumnsCountInNoWeightThatSharesAScale) {
  Fixture fixture = f5();
  fixture.input.select(1, 10).zero_();
  const Factor factor = factor_of(fixture.hessian().to(at::kFloat));
  Linear q, k;
  q.name = "q";
  k.name = "k";
  q.weight = fixture.weight.to(at::kFloat);
  k.weight = q.weight.flip(0).contiguous() * 0.5;
  k.weight.select(1, 10).fill_(7);
  std::vector<float> divisors;
  for (const auto& [linear, other] : {std::pair(&q, &k), std::pair(&k, &q)}) {
    Target target = test::target(test::weight("nvfp4", {{"share", "fused"}}), at::kBFloat16);
    target.request.fused = {other->weight};
    const auto swept = solve::column_sweep(*linear, factor, target);
    ASSERT_TRUE(swept.ok()) << swept.status();
    divisors.push_back(part(swept->result.parts(), "outer_scales").item<float>());
  }
  EXPECT_EQ(divisors[0], divisors[1]);
  EXPECT_GT(divisors[0], 2688 / 7);
}

TEST(ColumnSweep, SweepsFp8) {
  const Fixture fixture = f5();
  const Format format = test::weight("fp8-e4m3");
  const Outcome run = sweep(fixture, format, Order::kActivation);
  EXPECT_EQ(run.codes.scalar_type(), at::kFloat8_e4m3fn);
  EXPECT_LT(fixture.error(run.value), fixture.error(test::rounded(fixture.weight, format)));
}

TEST(ColumnSweep, ThreadsDoNotChangeAByte) {
  const Fixture fixture = test::fixture(13, 192, 320, 700, {{3, 20}});
  const int before = at::get_num_threads();
  std::vector<at::Tensor> factors, codes;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Factor factor = factor_of(fixture.hessian().to(at::kFloat), Order::kActivation);
    const at::Tensor weight = fixture.weight.to(at::kFloat);
    factors.push_back(factor.r);
    codes.push_back(solve::sweep_codes(
        weight, factor, grid_of(weight, gptq_format(4, 64), at::kBFloat16), {}, nullptr));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(factors[0], factors[1]));
  EXPECT_TRUE(at::equal(codes[0], codes[1]));
}

TEST(ColumnSweep, DeadColumnsBecomeZero) {
  Fixture fixture = f5();
  fixture.input.select(1, 10).zero_();
  Linear linear;
  linear.name = "m";
  linear.weight = fixture.weight.to(at::kFloat);
  linear.weight.select(1, 10).fill_(7);  // must not widen the range of its group
  const Factor factor = factor_of(fixture.hessian().to(at::kFloat));
  EXPECT_EQ(factor.dead.sum().item<int64_t>(), 1);
  const auto swept =
      solve::column_sweep(linear, factor, test::target(gptq_format(4, 16), at::kBFloat16));
  ASSERT_TRUE(swept.ok()) << swept.status();
  const at::Tensor value = decode(swept->result);
  EXPECT_EQ(value.select(1, 10).abs().max().item<float>(), 0);
  EXPECT_LT(value.abs().max().item<float>(), 1);
}

TEST(ColumnSweep, HonoursLimitsAndNamesTheLinear) {
  const Fixture fixture = f5();
  Linear linear;
  linear.name = "layers.0.q_proj";
  linear.weight = fixture.weight.to(at::kFloat);
  linear.clip_low = at::ones({32, 4}) * -0.05;
  linear.clip_high = at::ones({32, 4}) * 0.05;
  const Factor factor = factor_of(fixture.hessian().to(at::kFloat));
  const auto swept =
      solve::column_sweep(linear, factor, test::target(gptq_format(4, 16), at::kFloat));
  ASSERT_TRUE(swept.ok()) << swept.status();
  EXPECT_LE(decode(swept->result).abs().max().item<float>(), 0.0567f);
  EXPECT_EQ(swept->result.name(), "layers.0.q_proj");
  linear.weight = linear.weight.narrow(1, 0, 32);
  const Target channel = test::target(gptq_format(4), at::kFloat);
  EXPECT_THAT(std::string(solve::column_sweep(linear, factor, channel).status().message()),
              HasSubstr("layers.0.q_proj: its input has 32 channels, the Hessian 64"));
}

double residual(const Factor& factor, const at::Tensor& damped) {
  const at::Tensor product = factor.r.mm(factor.r.t());
  const at::Tensor ordered = damped.index_select(0, factor.order).index_select(1, factor.order);
  return ((product - ordered).norm() / ordered.norm()).item<double>();
}

TEST(Factor, RebuildsTheDampedHessian) {
  for (const int64_t in : {1, 16, 52, 64, 65, 200}) {
    const at::Tensor hessian = test::fixture(3, 1, in, 300, {{3, 5}}).hessian();
    at::Tensor damped = hessian.clone();
    damped.diagonal().add_(0.01 * hessian.diagonal().mean().item<double>());
    for (const Order order : {Order::kNatural, Order::kActivation}) {
      const Factor wide = factor_of(hessian, order),
                   single = factor_of(hessian.to(at::kFloat), order);
      EXPECT_LT(residual(wide, damped), 1e-13) << in;
      EXPECT_LT(residual(single, damped.to(at::kFloat)), 1e-6) << in;
      EXPECT_EQ(wide.rung, Rung::kClean);
      EXPECT_EQ(wide.remark, "");
      EXPECT_EQ(wide.r.tril(-1).abs().max().item<double>(), 0);
    }
  }
}

TEST(Factor, LeavesTheHessianAsItIs) {
  const at::Tensor hessian = f5().hessian(), copy = hessian.clone();
  factor_of(hessian, Order::kActivation);
  EXPECT_TRUE(at::equal(hessian, copy));
}

TEST(Factor, SortsEqualDiagonalsByPosition) {
  const Factor factor =
      factor_of(at::diag(at::tensor({1., 3., 1., 3., 2.}, at::kDouble)), Order::kActivation);
  EXPECT_TRUE(at::equal(factor.order, at::tensor({1, 3, 4, 0, 2}, at::kLong)));
}

TEST(Factor, RaisesDampingAndSaysSo) {
  at::Tensor hessian = at::eye(8, at::kFloat);
  hessian.fill_diagonal_(1);
  hessian[0][1] = hessian[1][0] = 1.05f;  // eigenvalue -0.05: ten times the damping is needed
  const Factor factor = factor_of(hessian);
  EXPECT_EQ(factor.rung, Rung::kMoreDamping);
  EXPECT_DOUBLE_EQ(factor.damping, 0.1);
  EXPECT_THAT(factor.remark, HasSubstr("not positive definite: damping raised from 0.01 to 0.1"));
}

TEST(Factor, GoesToDoubleWhereSinglePrecisionFails) {
  const at::Tensor input = test::fixture(17, 1, 12, 400, {}).input;
  at::Tensor hessian = input.t().mm(input);
  const double mean = hessian.diagonal().mean().item<double>();
  at::Tensor rank_one = at::ones({12, 12}, at::kDouble) * mean * 4e6;
  const at::Tensor single =
      (hessian * 1e-3 + rank_one).to(at::kFloat);  // singular within fp32, not for exact inputs
  const Factor factor = factor_of(single, Order::kNatural, 0);
  EXPECT_NE(factor.rung, Rung::kClean);
  EXPECT_NE(factor.remark, "");
}

TEST(Factor, EndsAtRoundToNearestForAnIndefiniteHessian) {
  const at::Tensor hessian = -f5().hessian().to(at::kFloat);
  const Factor factor = factor_of(hessian);
  EXPECT_EQ(factor.rung, Rung::kIdentity);
  EXPECT_TRUE(at::equal(factor.r, at::eye(64, at::kFloat)));
  EXPECT_THAT(
      factor.remark,
      HasSubstr("not positive definite at any damping: its columns are rounded to nearest"));
}

TEST(Factor, TakesOutInputsThatAreNotFinite) {
  at::Tensor hessian = f5().hessian().to(at::kFloat);
  hessian.select(0, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  hessian.select(1, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  const Factor factor = factor_of(hessian);
  EXPECT_EQ(factor.rung, Rung::kClean);
  EXPECT_TRUE(factor.dead[5].item<bool>());
  EXPECT_EQ(factor.dead.sum().item<int64_t>(), 1);
  EXPECT_TRUE(factor.r.isfinite().all().item<bool>());
  EXPECT_THAT(factor.remark, HasSubstr("the Hessian is not finite for 1 of 64 inputs"));
}

TEST(Factor, TakesZeroAndRankOneHessians) {
  EXPECT_EQ(factor_of(at::zeros({8, 8})).dead.sum().item<int64_t>(), 8);
  const at::Tensor x = f5().input.narrow(0, 0, 1).to(at::kFloat);
  EXPECT_EQ(factor_of(x.t().mm(x)).rung, Rung::kClean);
}

TEST(Factor, RefusesWhatIsNoHessian) {
  EXPECT_THAT(
      std::string(solve::factorize(at::zeros({2, 3}), 0.01, Order::kNatural).status().message()),
      HasSubstr("as many rows as columns"));
  EXPECT_THAT(std::string(solve::factorize(at::eye(2), -1, Order::kNatural).status().message()),
              HasSubstr("damping is -1, expected a number from 0"));
}

}  // namespace
}  // namespace swage
