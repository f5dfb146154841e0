#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/codec.h"
#include "swage/quant/scalar_codec.h"
#include "swage/scheme.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

using solve::Factor;
using solve::Order;
using test::Fixture;
using ::testing::HasSubstr;

std::shared_ptr<const Codec> codec_of(const std::string& format, const Value::Table& keys = {}) {
  auto codec = make_codec(Scheme{format, keys});
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *std::move(codec);
}

// What the scalar sweep and the sweep over blocks of one column both take: integers whose codes are
// rounded a column at a time.
class ColumnByColumn final : public Codec {
 public:
  explicit ColumnByColumn(std::shared_ptr<const Codec> scalar) : scalar_(std::move(scalar)) {}

 private:
  std::string do_describe() const override { return scalar_->describe(); }
  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    return scalar_->fit(weight, request);
  }
  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    return scalar_->encode(weight, std::move(levels));
  }
  at::Tensor do_decode(const Parts& parts, int64_t out, int64_t in) const override {
    return scalar_->decode(parts, out, in);
  }
  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    return scalar_->validate(parts, out, in);
  }
  double do_code_bits() const override { return scalar_->code_bits(); }
  int64_t do_level_bits(const Parts& parts) const override { return scalar_->level_bits(parts); }
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType type) const override {
    return scalar_->planned_level_bits(out, in, type);
  }
  int64_t do_block_columns() const override { return 1; }
  RoundedBlock do_round_block(const at::Tensor& target, const Parts& levels,
                              int64_t) const override {
    const Parts parts = scalar_->encode(target, levels);
    const quant::ScalarGrid grid = *scalar_->grid(levels, target.size(0), 1);
    return {part(parts, "codes"),
            quant::decode(part(parts, "codes"), grid).to(target.scalar_type())};
  }

  const std::shared_ptr<const Codec> scalar_;
};

Factor factor_of(const at::Tensor& hessian, Order order = Order::kNatural, int64_t block = 1) {
  auto factor = solve::factorize(hessian, 0.01, order, block);
  EXPECT_TRUE(factor.ok()) << factor.status();
  return *std::move(factor);
}

Parts levels_of(const Codec& codec, const at::Tensor& weight, at::ScalarType type = at::kDouble) {
  FitRequest request;
  request.scale_dtype = type;
  auto levels = codec.fit(weight, request);
  EXPECT_TRUE(levels.ok()) << levels.status();
  return *std::move(levels);
}

Fixture wide_fixture() { return test::fixture(13, 24, 160, 400, {{3, 8}, {77, 5}}); }

TEST(BlockSweep, BlocksOfOneColumnAreTheColumnSweep) {
  const Fixture fixture = wide_fixture();
  const auto scalar = codec_of("int", {{"bits", int64_t{3}}, {"granularity", "channel"}});
  const ColumnByColumn blocks(scalar);
  const Parts levels = levels_of(*scalar, fixture.weight);
  const quant::ScalarGrid grid = *scalar->grid(levels, 24, 160);
  for (const Order order : {Order::kNatural, Order::kActivation}) {
    const Factor factor = factor_of(fixture.hessian(), order);
    double expected = 0, loss = 0;
    const at::Tensor codes = solve::sweep_codes(fixture.weight, factor, grid, {}, &expected);
    const Parts swept = solve::sweep_blocks(fixture.weight, factor, blocks, levels, {}, &loss);
    EXPECT_TRUE(at::equal(part(swept, "codes"), codes));
    EXPECT_NEAR(loss / expected, 1, 1e-12);
  }
}

struct Case {
  const char* name;
  std::string format;
  Value::Table keys;
  int64_t block;
};

class BlockFormats : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<const Codec> codec() const {
    return codec_of(GetParam().format, GetParam().keys);
  }
};

TEST_P(BlockFormats, PanelsGiveTheCodesOfThePlainSweep) {
  const Fixture fixture = wide_fixture();
  const auto codec = this->codec();
  const Parts levels = levels_of(*codec, fixture.weight);
  for (const Order order : {Order::kNatural, Order::kActivation}) {
    const Factor factor = factor_of(fixture.hessian(), order, GetParam().block);
    double expected = 0, loss = 0;
    const Parts plain =
        solve::sweep_blocks_plain(fixture.weight, factor, *codec, levels, {}, &expected);
    const Parts swept = solve::sweep_blocks(fixture.weight, factor, *codec, levels, {}, &loss);
    EXPECT_TRUE(at::equal(part(swept, "codes"), part(plain, "codes")));
    EXPECT_NEAR(loss / expected, 1, 1e-10);
  }
}

TEST_P(BlockFormats, ErrorFallsAgainstRounding) {
  const Fixture fixture = wide_fixture();
  const auto codec = this->codec();
  const Parts levels = levels_of(*codec, fixture.weight);
  const double rounded =
      fixture.error(codec->decode(codec->encode(fixture.weight, levels), 24, 160));
  for (const Order order : {Order::kNatural, Order::kActivation}) {
    const Factor factor = factor_of(fixture.hessian(), order, GetParam().block);
    const Parts swept = solve::sweep_blocks(fixture.weight, factor, *codec, levels, {}, nullptr);
    EXPECT_LT(fixture.error(codec->decode(swept, 24, 160)), 0.95 * rounded);
  }
}

TEST_P(BlockFormats, LossIsHalfTheDampedError) {
  const Fixture fixture = wide_fixture();
  const auto codec = this->codec();
  at::Tensor damped = fixture.hessian();
  damped.diagonal().add_(0.01 * damped.diagonal().mean().item<double>());
  double loss = 0;
  const Parts swept = solve::sweep_blocks(
      fixture.weight, factor_of(fixture.hessian(), Order::kActivation, GetParam().block), *codec,
      levels_of(*codec, fixture.weight), {}, &loss);
  const at::Tensor difference = codec->decode(swept, 24, 160).to(at::kDouble) - fixture.weight;
  const double error = 0.5 * (difference.mm(damped) * difference).sum().item<double>();
  EXPECT_NEAR(loss / error, 1, 1e-5);  // decoded values are fp32
}

TEST_P(BlockFormats, SinglePrecisionGivesNearlyTheSameLoss) {
  const Fixture fixture = wide_fixture();
  const auto codec = this->codec();
  const at::Tensor weight = fixture.weight.to(at::kFloat);
  const Factor factor =
      factor_of(fixture.hessian().to(at::kFloat), Order::kActivation, GetParam().block);
  const Parts levels = levels_of(*codec, weight, at::kFloat);
  double loss = 0, expected = 0;
  solve::sweep_blocks(weight, factor, *codec, levels, {}, &loss);
  solve::sweep_blocks_plain(weight, factor, *codec, levels, {}, &expected);
  EXPECT_NEAR(loss / expected, 1, 3e-2);
}

TEST_P(BlockFormats, PrunedWeightsStayZeroAndTheirErrorIsSpread) {
  const Fixture fixture = wide_fixture();
  Linear linear;
  linear.name = "m";
  linear.weight = fixture.weight.to(at::kFloat);
  linear.mask = fixture.weight.abs().gt(0.05);
  const auto codec = this->codec();
  const Factor factor =
      factor_of(fixture.hessian().to(at::kFloat), Order::kActivation, GetParam().block);
  const auto swept = solve::column_sweep(linear, factor, {codec, {}});
  ASSERT_TRUE(swept.ok()) << swept.status();
  const at::Tensor value = decode(swept->result);
  EXPECT_EQ(value.masked_select(linear.mask.logical_not()).abs().max().item<float>(), 0);
  ASSERT_TRUE(validate(swept->result).ok()) << validate(swept->result);
  const auto rounded = quant::quantize(linear, {codec, {}});
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  EXPECT_LT(fixture.error(value), 0.99 * fixture.error(decode(*rounded)));
}

TEST_P(BlockFormats, ThreadsDoNotChangeAByte) {
  const Fixture fixture = test::fixture(15, 192, 320, 700, {{3, 20}});
  const auto codec = this->codec();
  const at::Tensor weight = fixture.weight.to(at::kFloat);
  const Factor factor =
      factor_of(fixture.hessian().to(at::kFloat), Order::kActivation, GetParam().block);
  const Parts levels = levels_of(*codec, weight, at::kFloat);
  const int before = at::get_num_threads();
  std::vector<at::Tensor> codes;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    codes.push_back(
        part(solve::sweep_blocks(weight, factor, *codec, levels, {}, nullptr), "codes"));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(codes[0], codes[1]));
  const Parts some = levels_of(*codec, weight, at::kFloat);
  EXPECT_TRUE(
      at::equal(codes[0].narrow(0, 64, 32),
                part(solve::sweep_blocks(weight, factor, *codec, some, {}, nullptr), "codes")
                    .narrow(0, 64, 32)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BlockFormats,
    ::testing::Values(Case{"Numbers", "codebook", {{"bits", int64_t{3}}}, 1},
                      Case{"Pairs", "codebook", {{"bits", int64_t{6}}, {"columns", int64_t{2}}}, 2},
                      Case{"Fives", "codebook", {{"bits", int64_t{5}}, {"columns", int64_t{5}}}, 5},
                      Case{"E8p", "e8p", {}, 8}),
    [](const auto& info) { return info.param.name; });

TEST(BlockSweep, ActivationOrderKeepsBlocksTogether) {
  const Fixture fixture = wide_fixture();
  const Factor factor = factor_of(fixture.hessian(), Order::kActivation, 8);
  const at::Tensor blocks = factor.order.view({-1, 8});
  EXPECT_TRUE(blocks.select(1, 0).remainder(8).eq(0).all().item<bool>());
  EXPECT_TRUE((blocks - blocks.narrow(1, 0, 1)).eq(at::arange(8)).all().item<bool>());
  EXPECT_EQ(std::get<0>(factor.order.sort()).eq(at::arange(160)).all().item<bool>(), true);
  const at::Tensor largest =
      fixture.hessian().diagonal().index_select(0, factor.order).view({-1, 8}).amax(1);
  EXPECT_TRUE(largest.diff().le(0).all().item<bool>());
}

TEST(BlockSweep, RefusesAFactorThatTearsBlocksApart) {
  const Fixture fixture = wide_fixture();
  Linear linear;
  linear.name = "layers.0.q_proj";
  linear.weight = fixture.weight.to(at::kFloat);
  const at::Tensor hessian = fixture.hessian().to(at::kFloat);
  const Target target{codec_of("e8p"), {}};
  EXPECT_THAT(
      std::string(solve::column_sweep(linear, factor_of(hessian, Order::kActivation), target)
                      .status()
                      .message()),
      HasSubstr("layers.0.q_proj: e8p per channel rounds 8 columns at once; the factor must "
                "be made for blocks of as many"));
  EXPECT_TRUE(solve::column_sweep(linear, factor_of(hessian), target).ok());
  EXPECT_FALSE(solve::factorize(hessian, 0.01, Order::kNatural, 9).ok());
}

}  // namespace
}  // namespace swage
