#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "swage/quant/scalar_grid.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/fixture.h"

// GPTAQ: the sweep makes up for inputs that layers before have changed.
namespace swage {
namespace {

using solve::Factor;
using solve::Order;
using ::testing::HasSubstr;

std::shared_ptr<const Codec> integers(int64_t bits, bool symmetric = false) {
  return *make_codec(Scheme{"int",
                            {{"bits", bits},
                             {"granularity", "channel"},
                             {"symmetric", symmetric},
                             {"convention", "gptq"}}});
}

// A layer whose inputs were changed by noise on their way.
struct Layer {
  at::Tensor weight, original, input;

  Layer(uint32_t seed, int64_t out, int64_t in, int64_t tokens,
        const std::map<int64_t, double>& amplitudes) {
    const test::Fixture fixture = test::fixture(seed, out, in, tokens, amplitudes);
    weight = fixture.weight;
    original = fixture.input;
    test::Generator random(77);
    at::Tensor noise = at::empty({tokens, in}, at::kDouble);
    double* to = noise.mutable_data_ptr<double>();
    for (int64_t i = 0; i < noise.numel(); ++i) to[i] = random.normal();
    input = original + noise * 0.15 * original.std(/*dim=*/0, /*unbiased=*/false);
  }

  at::Tensor hessian() const { return 2 * input.t().mm(input); }
  at::Tensor cross() const { return 2 * (original - input).t().mm(input); }
  // ‖X Qᵀ - X₀ Wᵀ‖²
  double objective(const at::Tensor& value) const {
    return (input.mm(value.to(at::kDouble).t()) - original.mm(weight.t()))
        .square()
        .sum()
        .item<double>();
  }
};

Layer toy() { return Layer(1, 8, 16, 256, {{3, 20}, {11, 8}}); }
Layer wide() { return Layer(13, 24, 160, 400, {{3, 8}, {77, 5}}); }

Factor factor_of(const Layer& layer, double share, Order order = Order::kNatural,
                 int64_t block = 1) {
  auto factor = solve::factorize(layer.hessian(), 0.01, order, block);
  EXPECT_TRUE(factor.ok()) << factor.status();
  EXPECT_TRUE(solve::correct_inputs(*factor, layer.cross(), share).ok());
  return *std::move(factor);
}

struct Problem {
  std::shared_ptr<const Codec> codec;
  Parts levels;
  quant::ScalarGrid grid;

  Problem(const Layer& layer, std::shared_ptr<const Codec> with) : codec(std::move(with)) {
    FitRequest request;
    request.scale_dtype = at::kDouble;
    levels = *codec->fit(layer.weight, request);
    grid = *codec->grid(levels, layer.weight.size(0), layer.weight.size(1));
  }
};

// The official loop with U = chol(H⁻¹)ᵀ and P = α triu(ΔX Xᵀ Uᵀ, 1) U, column after column.
at::Tensor official(const Layer& layer, const Problem& problem, const Factor& factor,
                    double share) {
  at::Tensor damped = layer.hessian();
  damped.diagonal().add_(0.01 * damped.diagonal().mean().item<double>());
  const auto ordered = [&](const at::Tensor& m) {
    return m.index_select(0, factor.order).index_select(1, factor.order);
  };
  const at::Tensor u = at::linalg_cholesky(at::linalg_inv(ordered(damped)), /*upper=*/true);
  const at::Tensor p = share * ordered(layer.cross()).mm(u.t()).triu(1).mm(u);
  at::Tensor w = layer.weight.index_select(1, factor.order);
  at::Tensor codes = at::empty(w.sizes(), at::kChar);
  for (int64_t c = 0; c < w.size(1); ++c) {
    const at::Tensor aimed = w.narrow(1, c, 1).clone();
    const at::Tensor code = quant::encode_plain(aimed, problem.grid);
    const at::Tensor error = (aimed - quant::decode_plain(code, problem.grid)) / u[c][c];
    w -= error.mm(u.narrow(0, c, 1));
    w += aimed.mm(p.narrow(0, c, 1));
    codes.narrow(1, factor.order[c].item<int64_t>(), 1).copy_(code);
  }
  return codes;
}

TEST(CrossTerm, GivesTheGoldenObjectives) {
  const Layer layer = toy();
  const Problem problem(layer, integers(4));
  const auto objective = [&](const at::Tensor& codes) {
    return layer.objective(quant::decode(codes, problem.grid));
  };
  EXPECT_NEAR(objective(quant::encode(layer.weight, problem.grid)), 516.330271, 1e-6);
  struct Row {
    double share, objective;
  };
  for (const Row& row :
       {Row{0, 513.569946}, Row{.25, 506.466845}, Row{.5, 501.021236}, Row{1, 494.682814}}) {
    const Factor factor = factor_of(layer, row.share);
    EXPECT_NEAR(objective(solve::sweep_codes(layer.weight, factor, problem.grid, {}, nullptr)),
                row.objective, 1e-6);
  }
}

TEST(CrossTerm, GivesTheCodesOfTheOfficialLoop) {
  for (const Layer& layer : {toy(), wide()}) {
    for (const int64_t bits : {2, 3, 4}) {
      const Problem problem(layer, integers(bits));
      for (const Order order : {Order::kNatural, Order::kActivation}) {
        const Factor factor = factor_of(layer, .25, order);
        const at::Tensor expected = official(layer, problem, factor, .25);
        double loss = 0, plain_loss = 0;
        EXPECT_TRUE(
            at::equal(solve::sweep_codes(layer.weight, factor, problem.grid, {}, &loss), expected));
        EXPECT_TRUE(
            at::equal(solve::sweep_codes_plain(layer.weight, factor, problem.grid, {}, &plain_loss),
                      expected));
        EXPECT_NEAR(loss / plain_loss, 1, 1e-10);
      }
    }
  }
}

TEST(CrossTerm, SinglePrecisionGivesNearlyTheSame) {
  const Layer layer = wide();
  const Problem problem(layer, integers(4));
  auto factor = solve::factorize(layer.hessian().to(at::kFloat), 0.01, Order::kActivation);
  ASSERT_TRUE(factor.ok());
  ASSERT_TRUE(solve::correct_inputs(*factor, layer.cross().to(at::kFloat), .25).ok());
  const at::Tensor codes =
      solve::sweep_codes(layer.weight.to(at::kFloat), *factor, problem.grid, {}, nullptr);
  const at::Tensor exact = solve::sweep_codes(
      layer.weight, factor_of(layer, .25, Order::kActivation), problem.grid, {}, nullptr);
  EXPECT_LE((codes != exact).sum().item<int64_t>(), codes.numel() / 100);
}

TEST(CrossTerm, IsPlainGptqWhereInputsAreTheOriginalOnes) {
  const Layer layer = wide();
  const Problem problem(layer, integers(3));
  Factor factor = factor_of(layer, 0);
  const at::Tensor plain = solve::sweep_codes(layer.weight, factor, problem.grid, {}, nullptr);
  ASSERT_TRUE(solve::correct_inputs(factor, at::zeros({160, 160}, at::kDouble), 1).ok());
  EXPECT_TRUE(
      at::equal(solve::sweep_codes(layer.weight, factor, problem.grid, {}, nullptr), plain));
}

TEST(CrossTerm, HelpsFormatsThatRoundBlocks) {
  const Layer layer = wide();
  const auto codec = *make_codec(Scheme{"e8p", {}});
  const Parts levels = *codec->fit(layer.weight, {});
  for (const Order order : {Order::kNatural, Order::kActivation}) {
    const auto swept = [&](const Factor& factor) {
      const Parts parts = solve::sweep_blocks(layer.weight, factor, *codec, levels, {}, nullptr);
      const Parts plain =
          solve::sweep_blocks_plain(layer.weight, factor, *codec, levels, {}, nullptr);
      EXPECT_TRUE(at::equal(part(parts, "codes"), part(plain, "codes")));
      return layer.objective(codec->decode(parts, 24, 160));
    };
    const Factor corrected = factor_of(layer, .5, order, 8);
    // Nothing within a block: its columns are rounded at once.
    for (int64_t c = 0; c < 160; c += 8)
      EXPECT_EQ(corrected.cross.narrow(0, c, 8).narrow(1, 0, c + 8).abs().max().item<double>(), 0);
    EXPECT_LT(swept(corrected), swept(factor_of(layer, 0, order, 8)));
  }
}

TEST(CrossTerm, DeadColumnsTakeNoPart) {
  Layer layer = wide();
  layer.input.select(1, 10).zero_();
  const Factor factor = factor_of(layer, 1);
  EXPECT_TRUE(factor.dead[10].item<bool>());
  EXPECT_EQ(factor.cross.select(1, 10).abs().max().item<double>(), 0);
}

TEST(CrossTerm, RefusesWhatDoesNotFitTheHessian) {
  Factor factor = *solve::factorize(toy().hessian(), 0.01, Order::kNatural);
  EXPECT_THAT(std::string(solve::correct_inputs(factor, at::zeros({8, 16}), 1).message()),
              HasSubstr("a cross term needs 16 rows and columns"));
  at::Tensor cross = toy().cross();
  cross[1][2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(std::string(solve::correct_inputs(factor, cross, 1).message()),
              HasSubstr("not finite"));
  // Round to nearest stays round to nearest.
  Factor identity = *solve::factorize(-toy().hessian(), 0.01, Order::kNatural);
  ASSERT_EQ(identity.rung, solve::Rung::kIdentity);
  EXPECT_TRUE(solve::correct_inputs(identity, toy().cross(), 1).ok());
  EXPECT_FALSE(identity.cross.defined());
}

TEST(DeadColumns, BecomeZeroOrTheirNearestValues) {
  test::Fixture fixture = test::f5();
  fixture.input.select(1, 10).zero_();
  Linear linear;
  linear.name = "m";
  linear.weight = fixture.weight.to(at::kFloat);
  linear.weight.select(1, 10).fill_(0.21f);
  const auto codec = integers(4, true);
  for (const Order order : {Order::kNatural, Order::kActivation}) {
    const auto factor = solve::factorize(fixture.hessian().to(at::kFloat), 0.01, order);
    ASSERT_TRUE(factor.ok());
    EXPECT_EQ(factor->dead.sum().item<int64_t>(), 1);
    const auto zero = solve::column_sweep(linear, *factor, {codec, {}});
    solve::SweepOptions options;
    options.dead = solve::Dead::kNearest;
    const auto nearest = solve::column_sweep(linear, *factor, {codec, {}}, options);
    ASSERT_TRUE(zero.ok() && nearest.ok());
    EXPECT_EQ(decode(zero->result).select(1, 10).abs().max().item<float>(), 0);
    const auto rounded = quant::quantize(linear, {codec, {}});
    ASSERT_TRUE(rounded.ok());
    EXPECT_TRUE(at::equal(decode(nearest->result).select(1, 10), decode(*rounded).select(1, 10)));
    EXPECT_GT(decode(nearest->result).select(1, 10).min().item<float>(), 0.1f);
    EXPECT_FALSE(at::equal(decode(nearest->result), decode(*rounded)));
  }
}

}  // namespace
}  // namespace swage
