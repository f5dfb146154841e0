#include "swage/quant/quantizer.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/fixture.h"
#include "tests/kit/scheme.h"

namespace swage {
namespace {

using quant::ScalarGrid;
using test::f1;
using test::f5;
using test::Format;
using test::grid_of;
using ::testing::HasSubstr;

constexpr const char* kConventions[] = {"minmax", "gptq", "full-range", "llmc"};

Format channels(int bits, bool symmetric, const char* convention = "minmax") {
  return test::weight("int", {{"bits", bits},
                              {"granularity", "channel"},
                              {"symmetric", symmetric},
                              {"convention", convention}});
}

Format groups(int bits, bool symmetric, int64_t size, const char* convention = "minmax") {
  return test::with(channels(bits, symmetric, convention),
                    {{"granularity", "group"}, {"group", size}});
}

struct Golden {
  Format format;
  double squares, error;
};

TEST(Fixture, GivesTheRecordedNumbers) {
  const auto a = f1();
  EXPECT_NEAR(a.weight[0][0].item<double>(), -0.1105567217, 1e-10);
  EXPECT_NEAR(a.weight[7][15].item<double>(), -0.18760046362876892, 1e-15);
  EXPECT_NEAR(a.input[0][3].item<double>(), 1.5423029661, 1e-10);
  EXPECT_NEAR(a.weight.sum().item<double>(), 1.3404868960380556, 1e-12);
  EXPECT_NEAR(a.input.sum().item<double>(), -179.4823842048645, 1e-10);
  EXPECT_NEAR(a.hessian()[3][3].item<double>(), 51489.827, 1e-3);
  const auto b = f5();
  EXPECT_NEAR(b.weight.sum().item<double>(), 4.7530614852905275, 1e-12);
  EXPECT_NEAR(b.input.sum().item<double>(), 276.20604705810547, 1e-10);
}

TEST(Quantizer, ReproducesTheTableOfConventions) {
  const std::vector<Golden> table = {
      {channels(4, false), 0.005704057192411, 11.951195915401698},
      {channels(4, false, "llmc"), 0.005704057192411, 11.951195915401698},
      {channels(4, false, "gptq"), 0.005704057192411, 11.951195915401698},
      {channels(4, true), 0.0077958478, 42.30916403},
      {channels(4, true, "full-range"), 0.007260069205, 22.686996087},
      {groups(4, false, 8), 0.0036995968, 7.6598572511},
      {groups(3, false, 8), 0.018475872108, 76.655518285},
      {groups(2, false, 8), 0.103749171269, 626.994468258},
      {groups(2, true, 8), 0.298702814, 950.2127},
      {groups(2, true, 8, "full-range"), 0.108934713, 1097.274},
  };
  const auto fixture = f1();
  for (const Golden& golden : table) {
    SCOPED_TRACE(golden.format->describe());
    const at::Tensor rounded = test::rounded(fixture.weight, golden.format);
    EXPECT_NEAR((rounded - fixture.weight).square().sum().item<double>(), golden.squares, 1e-9);
    EXPECT_NEAR(fixture.error(rounded) / golden.error, 1, 5e-7);  // digits recorded
  }
}

TEST(Quantizer, FindsScaleAndZeroPointsOfTheFirstFixture) {
  const Parts levels = test::levels_of(f1().weight, channels(4, false), test::request(at::kDouble));
  EXPECT_NEAR(part(levels, "scales")[0][0].item<double>(), 0.0187618542, 1e-10);
  const at::Tensor& zeros = part(levels, "zeros");
  EXPECT_EQ(zeros.scalar_type(), at::kChar);
  const at::Tensor expected = at::tensor({8, 6, 2, 7, 7, 7, 6, 8}, at::kInt) - 8;
  EXPECT_TRUE(at::equal(zeros.flatten().to(at::kInt), expected)) << zeros;
}

TEST(Quantizer, SearchesRangesByTheirError) {
  const Format format = channels(3, true);
  const auto fixture = f1();
  const at::Tensor plain = test::rounded(fixture.weight, format);
  EXPECT_NEAR((plain - fixture.weight).square().sum().item<double>(), 0.0467066507, 1e-9);
  const ScalarGrid grid = grid_of(fixture.weight, test::with(format, {{"range", "mse"}}));
  const at::Tensor error = (quant::round_trip(fixture.weight, grid) - fixture.weight).abs();
  EXPECT_NEAR(error.square().sum().item<double>(), 0.0369191705, 1e-9);
  EXPECT_NEAR(error.pow(2.4).sum().item<double>(), 0.008274626458, 1e-11);
  const double shrink[] = {.78, .94, .94, .90, .90, .90, .93, .78};
  const at::Tensor full = fixture.weight.abs().amax(1) / 3;
  for (int row = 0; row < 8; ++row) {
    EXPECT_NEAR(grid.scale[row][0].item<double>() / full[row].item<double>(), shrink[row], 1e-6)
        << row;
  }
}

TEST(Quantizer, FastRangeSearchIsAsGoodAsTheExactOne) {
  for (const bool symmetric : {true, false}) {
    for (const int64_t width : {8, 13, 64}) {
      const Format format = test::with(groups(3, symmetric, width, "gptq"),
                                       {{"group_tail", "short"}, {"range", "mse"}});
      const at::Tensor weight = f5().weight;
      const at::Tensor exact = test::rounded(weight, format, at::kFloat) - weight;
      const at::Tensor fast =
          test::rounded(weight.to(at::kFloat), format, at::kFloat).to(at::kDouble) - weight;
      const double cost = exact.abs().pow(2.4).sum().item<double>();
      EXPECT_NEAR(fast.abs().pow(2.4).sum().item<double>() / cost, 1, 1e-4);
    }
  }
}

TEST(Quantizer, RangeSearchPassesOverNoBetterRange) {
  const at::Tensor weight =
      f5().weight * f5().weight.abs();  // heavy tails: many ranges cut off much
  for (const std::string convention : kConventions) {
    for (const int bits : {2, 4, 8}) {
      for (const at::ScalarType storage : {at::kBFloat16, at::kHalf}) {
        const bool symmetric = convention == "full-range" || bits == 4;
        const Format format = groups(bits, symmetric, 16, convention.c_str());
        const auto cost_of = [&](const ScalarGrid& grid) {
          return (quant::round_trip(weight, grid) - weight)
              .abs()
              .pow(2.4)
              .reshape({weight.size(0), -1, 16})
              .sum(2);
        };
        const at::Tensor groups = weight.reshape({weight.size(0), -1, 16});
        at::Tensor low = groups.amin(2), high = groups.amax(2), least;
        if (convention != "llmc") {
          low = low.clamp_max(0);
          high = high.clamp_min(0);
        }
        for (int step = 0; step < 80; ++step) {
          const double shrink = 1 - step / 100.;
          const at::Tensor cost =
              cost_of(grid_of(weight, format, storage, low * shrink, high * shrink));
          least = least.defined() ? at::minimum(least, cost) : cost;
        }
        const at::Tensor found =
            cost_of(grid_of(weight, test::with(format, {{"range", "mse"}}), storage));
        EXPECT_TRUE(at::allclose(found, least, 1e-9, 1e-15))
            << format->describe() << " " << convention << " "
            << (found / least).max().item<double>();
      }
    }
  }
}

TEST(Quantizer, KeepsRoundedValuesWhereTheyAre) {
  for (const char* const convention : {"minmax", "full-range"}) {
    const at::Tensor weight = f5().weight.to(at::kFloat);
    const ScalarGrid grid = grid_of(weight, groups(4, true, 16, convention), at::kBFloat16);
    const at::Tensor once = quant::round_trip(weight, grid);
    EXPECT_TRUE(at::equal(quant::round_trip(once, grid), once));
  }
}

TEST(Quantizer, RoundsScalesBeforeCodes) {
  const at::Tensor weight = f5().weight.to(at::kFloat);
  for (const at::ScalarType storage : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const Format format = groups(4, false, 16);
    const Parts parts =
        format->encode(weight, test::levels_of(weight, format, test::request(storage)));
    EXPECT_EQ(part(parts, "scales").scalar_type(), storage);
    const at::Tensor scale = part(parts, "scales").to(at::kFloat).repeat_interleave(16, 1);
    const at::Tensor zero = part(parts, "zeros").to(at::kFloat).repeat_interleave(16, 1);
    const at::Tensor codes = at::clamp(at::round(weight / scale) + zero, -8, 7);
    EXPECT_TRUE(at::equal(part(parts, "codes").to(at::kFloat), codes));
    const at::Tensor decoded = ((codes - zero) * scale).to(storage).to(at::kFloat);
    EXPECT_TRUE(at::equal(format->decode(parts, 32, 64), decoded));
  }
}

TEST(Quantizer, FastPathGivesTheBitsOfThePlainOne) {
  const at::Tensor weight = test::fixture(9, 37, 203, 1, {}).weight.to(at::kFloat);
  for (const at::ScalarType storage : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const int bits : {2, 3, 4, 5, 8}) {
      for (const int64_t width : {1, 7, 29, 64, 203}) {
        const Format format =
            test::with(groups(bits, bits % 2 == 0, width), {{"group_tail", "short"}});
        const ScalarGrid grid = grid_of(weight, format, storage);
        const at::Tensor codes = quant::encode_plain(weight, grid);
        EXPECT_TRUE(at::equal(quant::encode(weight, grid), codes)) << bits << " " << width;
        const at::Tensor zero = grid.zero.defined() ? grid.zero : at::zeros_like(grid.scale);
        const auto spread = [&](const at::Tensor& t) {
          return t.to(at::kFloat).repeat_interleave(width, 1).narrow(1, 0, 203);
        };
        const at::Tensor decoded =
            ((codes.to(at::kFloat) - spread(zero)) * spread(grid.scale)).to(storage).to(at::kFloat);
        EXPECT_TRUE(at::equal(quant::decode(codes, grid), decoded)) << bits << " " << width;
        EXPECT_TRUE(at::equal(quant::round_trip(weight, grid), decoded)) << bits << " " << width;
      }
    }
  }
}

TEST(Quantizer, IsTheSameForStridedAndForPermutedColumns) {
  const at::Tensor weight = f5().weight.to(at::kFloat);
  const at::Tensor strided = weight.t().contiguous().t();
  const Format format = groups(4, false, 16);
  EXPECT_TRUE(at::equal(quant::encode(strided, grid_of(strided, format)),
                        quant::encode(weight, grid_of(weight, format))));
  const Format channel = channels(4, false);
  const at::Tensor flipped = weight.flip({1});
  EXPECT_TRUE(at::equal(quant::encode(flipped, grid_of(flipped, channel)).flip({1}),
                        quant::encode(weight, grid_of(weight, channel))));
}

TEST(Quantizer, DecodesConstantAndEmptyGroupsExactly) {
  for (const double value : {0.0, 0.1015625, -3.25, 0.0078125}) {
    for (const bool symmetric : {true, false}) {
      for (const int bits : {2, 3, 4, 8}) {
        const at::Tensor weight = at::full({3, 8}, value, at::kFloat);
        const Format format = groups(bits, symmetric, 4);
        EXPECT_TRUE(at::equal(test::rounded(weight, format, at::kBFloat16), weight))
            << value << " " << bits << " " << symmetric;
      }
    }
  }
}

TEST(Quantizer, KeepsOneSidedGroupsUnlessAskedForTheLlmcWay) {
  const at::Tensor weight = at::tensor({.5, .52, .54, .56, .58, .6}, at::kDouble).view({1, 6});
  const at::Tensor safe = test::rounded(weight, channels(4, false));
  EXPECT_LE((safe - weight).abs().max().item<double>(), 0.0201);
  const at::Tensor llmc = test::rounded(weight, channels(4, false, "llmc"));
  EXPECT_NEAR(llmc.min().item<double>(), 0.1, 1e-9);
  EXPECT_NEAR(llmc.max().item<double>(), 0.1, 1e-9);
}

TEST(Quantizer, SurvivesScalesThatUnderflowTheirDtype) {
  const at::Tensor weight = at::tensor({1e-12, -2e-12, 3e-12, 0.}, at::kFloat).view({1, 4});
  const ScalarGrid grid = grid_of(weight, channels(4, true), at::kHalf);
  EXPECT_GT(grid.scale.item<float>(), 0);
  EXPECT_EQ(quant::round_trip(weight, grid).abs().max().item<float>(), 0);
}

TEST(Quantizer, LimitsAreAppliedBeforeTheRange) {
  const at::Tensor weight =
      at::tensor({-1., -.5, .25, 2., 4., .5, -.5, 1.}, at::kFloat).view({1, 8});
  const at::Tensor low = at::tensor({-.5, -.25}, at::kFloat).view({1, 2});
  const at::Tensor high = at::tensor({1., 2.}, at::kFloat).view({1, 2});
  const Result result = test::quantized(weight, groups(8, false, 4), at::kFloat, low, high);
  const at::Tensor expected =
      at::tensor({-.5, -.5, .25, 1., 2., .5, -.25, 1.}, at::kFloat).view({1, 8});
  EXPECT_LE((decode(result) - expected).abs().max().item<float>(), 0.005);
}

TEST(Quantizer, LimitsHoldForTheColumnsThatTheyWereFoundFor) {
  const at::Tensor weight = at::ones({2, 32});
  at::Tensor high = at::ones({2, 4});  // four groups of 8
  high.select(1, 1).fill_(0.25);
  for (const Format& format :
       {groups(8, false, 8), groups(8, false, 16), groups(8, false, 4), channels(8, false)}) {
    const Result result = test::quantized(weight, format, at::kFloat, -high, high);
    const at::Tensor value = decode(result).view({2, 4, 8});
    EXPECT_NEAR(value.select(1, 1).max().item<float>(), 0.25, 0.005) << format->describe();
    EXPECT_NEAR(value.select(1, 0).min().item<float>(), 1, 0.005) << format->describe();
    EXPECT_NEAR(value.narrow(1, 2, 2).min().item<float>(), 1, 0.005) << format->describe();
  }
  const at::Tensor five = at::ones({2, 5});
  EXPECT_THAT(std::string(groups(8, false, 8)
                              ->fit(weight, test::request(at::kFloat, -five, five))
                              .status()
                              .message()),
              HasSubstr("range limits are [2, 5], expected both, with 2 rows and 4 groups"));
}

TEST(Quantizer, GroupScalesOfFullRangeKeepTheirSigns) {
  const at::Tensor weight = f5().weight.to(at::kFloat);
  const test::Keys keys = {{"group", 16}, {"convention", "full-range"}};
  const Format one = test::weight("int", keys), two = test::with(one, {{"group_scale", "int8"}});
  const auto error = [&](const Format& format) {
    return (test::rounded(weight, format, at::kHalf) - weight).norm().item<double>();
  };
  EXPECT_LT(error(two), 1.05 * error(one));
}

TEST(Quantizer, RowsOfDustKeepTheirGroupScales) {
  at::Tensor weight = f5().weight.to(at::kFloat);
  weight[1] *= 3e-5 / weight[1].abs().max();
  const Format format = test::weight("int", {{"group", 16}, {"group_scale", "int8"}});
  const at::Tensor value = test::rounded(weight, format, at::kHalf);
  EXPECT_LT((value[1] - weight[1]).norm().item<double>(), weight[1].norm().item<double>() / 2);
  const auto refused = make_codec(Scheme{
      "int", {{"group", 16}, {"symmetric", false}, {"zero", "float"}, {"group_scale", "int8"}}});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("write zero = \"int\""));
}

TEST(Quantizer, LinearsThatShareARangeShareItsSearch) {
  const at::Tensor q = f5().weight.to(at::kFloat), k = q.flip(0).contiguous() * 0.9;
  for (const char* range : {"minmax", "mse", "weighted"}) {
    const Format format =
        test::weight("int", {{"granularity", "tensor"}, {"share", "fused"}, {"range", range}});
    FitRequest of_q = test::request(at::kFloat), of_k = of_q;
    of_q.fused = {k};
    of_k.fused = {q};
    EXPECT_EQ(part(test::levels_of(q, format, of_q), "scales").item<float>(),
              part(test::levels_of(k, format, of_k), "scales").item<float>())
        << range;
  }
}

TEST(Quantizer, OneScaleServesAWholeTensor) {
  const at::Tensor weight = f5().weight.to(at::kFloat);
  const ScalarGrid grid =
      grid_of(weight, test::with(channels(8, true), {{"granularity", "tensor"}}), at::kFloat);
  EXPECT_EQ(grid.scale.sizes(), (c10::IntArrayRef{1, 1}));
  EXPECT_FLOAT_EQ(grid.scale.item<float>(), weight.abs().max().item<float>() / 127);
  EXPECT_LE((quant::round_trip(weight, grid) - weight).abs().max().item<float>(),
            grid.scale.item<float>() / 2 * 1.0001f);
}

TEST(Quantizer, NamesTheEntryThatIsNotFinite) {
  at::Tensor weight = f5().weight.to(at::kFloat);
  weight[20][33] = std::numeric_limits<float>::quiet_NaN();
  weight[21][2] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(test::refusal(weight, groups(4, true, 16), at::kBFloat16),
              HasSubstr("the weight holds NaN at row 20, column 33"));
  weight[20][33] = 0;
  EXPECT_THAT(test::refusal(weight, channels(4, true), at::kBFloat16),
              HasSubstr("the weight holds infinity at row 21, column 2"));
}

TEST(Quantizer, NamesTheGroupSizesThatWouldDo) {
  const auto status = groups(4, true, 24)->fit(f5().weight, test::request(at::kBFloat16)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr(
          "a group of 24 columns does not divide the input width 64; these do: 8, 16, 32, 64"));
}

TEST(Quantizer, RefusesAScaleThatItsDtypeCannotHold) {
  const at::Tensor weight = at::full({2, 4}, 1e7, at::kFloat);
  EXPECT_THAT(test::refusal(weight, channels(4, true), at::kHalf),
              HasSubstr("the scale of row 0, group 0 does not fit the dtype of the scales"));
}

// An fp8 format whose one scale is 1, on a row of `count` values.
ScalarGrid unit_grid(const char* format, int64_t count) {
  return test::grid_on({{"scales", at::ones({1, 1})}},
                       test::weight(format, {{"granularity", "tensor"}}), 1, count);
}

TEST(Fp8, RoundsTiesToEvenAndSaturates) {
  const auto rounded = [&](const char* format, const std::vector<double>& values) {
    const at::Tensor x = at::tensor(values, at::kFloat).view({1, -1});
    return quant::round_trip(x, unit_grid(format, x.size(1))).flatten();
  };
  EXPECT_TRUE(at::equal(
      rounded("fp8-e4m3",
              {.001, .0009765625, .00146484375, .017, 1.0625, 1.1875, 300, 447, 1000, -1e9}),
      at::tensor({.001953125, 0., .001953125, .017578125, 1., 1.25, 288., 448., 448., -448.},
                 at::kFloat)));
  EXPECT_TRUE(at::equal(rounded("fp8-e5m2", {1e-5, 1.125, 1.375, 1e9}),
                        at::tensor({1.52587890625e-05, 1., 1.5, 57344.}, at::kFloat)));
}

TEST(Fp8, EveryFiniteCodeSurvives) {
  for (const char* const format : {"fp8-e4m3", "fp8-e5m2"}) {
    const bool e4m3 = std::string(format) == "fp8-e4m3";
    const auto type = e4m3 ? at::kFloat8_e4m3fn : at::kFloat8_e5m2;
    const at::Tensor values =
        at::arange(0, 256, at::kInt).to(at::kByte).view(type).to(at::kFloat).view({1, 256});
    const at::Tensor finite = values.masked_select(values.isfinite()).view({1, -1});
    EXPECT_EQ(finite.size(1), e4m3 ? 254 : 248);
    EXPECT_TRUE(at::equal(quant::round_trip(finite, unit_grid(format, finite.size(1))), finite));
  }
}

TEST(Inputs, TakeOneScalePerTokenAndPassGradients) {
  const at::Tensor x = f5().input.to(at::kFloat);
  const ActivationQuantizer quantizer{test::inputs("int"), {}};
  const at::Tensor scale = x.abs().amax(1, true) / 127;
  const at::Tensor expected = at::clamp(at::round(x / scale), -128, 127) * scale;
  EXPECT_TRUE(at::equal(quantizer.apply(x), expected));
  const at::Tensor leaf = x.clone().requires_grad_();
  const at::Tensor y = quantizer.apply(leaf);
  EXPECT_TRUE(at::equal(y.detach(), expected));
  y.sum().backward();
  EXPECT_TRUE(at::equal(leaf.grad(), at::ones_like(x)));
}

// compressed-tensors: amax / ((2^bits - 1) / 2), codes from -2^(bits-1) to 2^(bits-1) - 1. Kernels
// for 8 bits: amax / 127.
TEST(Inputs, DynamicScalesAreThoseOfTheReaders) {
  const at::Tensor x = at::randn({5, 64}) * 3;
  x[1].fill_(0.7);  // a token of equal values is no special case
  x[2].zero_();
  for (const int bits : {4, 6, 8}) {
    const double half = bits == 8 ? 127 : ((1 << bits) - 1) / 2.;
    const at::Tensor scale = at::clamp_min(x.abs().amax(-1, true) / half, 1e-12);
    const int edge = 1 << (bits - 1);
    const at::Tensor expected = at::clamp(at::round(x / scale), -edge, edge - 1) * scale;
    EXPECT_TRUE(at::equal(test::inputs("int", {{"bits", bits}})->quantize_input(x, {}), expected))
        << bits;
  }
}

TEST(Inputs, ATokenDoesNotSeeItsNeighbours) {
  const at::Tensor x = f5().input.to(at::kFloat);
  const Format format = test::inputs("int");
  EXPECT_TRUE(at::equal(format->quantize_input(x, {}).narrow(0, 17, 3),
                        format->quantize_input(x.narrow(0, 17, 3), {})));
}

TEST(Inputs, StaticScaleComesFromTheCalibratedRange) {
  const Format symmetric = test::inputs("int", {{"granularity", "tensor"}, {"dynamic", false}});
  const Parts levels = symmetric->input_levels(-1.27f, 0.5f);
  EXPECT_FLOAT_EQ(part(levels, "scales").item<float>(), 0.01f);
  EXPECT_FALSE(part(levels, "zeros").defined());
  const Format asymmetric = test::with(symmetric, {{"symmetric", false}});
  const ActivationQuantizer quantizer{asymmetric, asymmetric->input_levels(-0.55f, 2.f)};
  EXPECT_FLOAT_EQ(part(quantizer.levels, "scales").item<float>(), 0.01f);
  EXPECT_EQ(part(quantizer.levels, "zeros").item<float>(), 55 - 128);
  const at::Tensor y = quantizer.apply(at::tensor({-1., 0., 1.004, 9.}, at::kFloat).view({1, 4}));
  EXPECT_LE((y - at::tensor({-.55, 0., 1., 2.}, at::kFloat)).abs().max().item<float>(), 1e-6);
  EXPECT_TRUE(test::inputs("int")->input_levels(-1, 1).empty()) << "dynamic";
}

TEST(Inputs, SurviveZeroTokensAndShowNaN) {
  at::Tensor x = at::zeros({2, 8});
  const Format format = test::inputs("int");
  EXPECT_EQ(format->quantize_input(x, {}).abs().max().item<float>(), 0);
  x[1][3] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor y = format->quantize_input(x, {});
  EXPECT_EQ(y[0].abs().max().item<float>(), 0);
  EXPECT_TRUE(y[1].isnan().any().item<bool>());
}

}  // namespace
}  // namespace swage
