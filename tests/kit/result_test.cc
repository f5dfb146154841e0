#include "swage/result.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "swage/quant/quantizer.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

using ::testing::HasSubstr;
using Kind = Side::Kind;
using Input = Side::Input;

constexpr int64_t kOut = 32, kIn = 64;

std::shared_ptr<const Codec> codec_of(const std::string& format, const Value::Table& keys = {}) {
  auto codec = make_codec(Scheme{format, keys});
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *std::move(codec);
}

std::shared_ptr<const Codec> w4(bool symmetric = false) {
  return codec_of("int", {{"bits", int64_t{4}},
                          {"group", int64_t{64}},
                          {"granularity", "group"},
                          {"symmetric", symmetric}});
}

Linear linear_of(const at::Tensor& weight) {
  Linear linear;
  linear.name = "layer.proj";
  linear.weight = weight.to(at::kFloat);
  return linear;
}

Target target_of(std::shared_ptr<const Codec> codec, at::ScalarType scales = at::kBFloat16) {
  Target target{std::move(codec), {}};
  target.request.scale_dtype = scales;
  return target;
}

Result sample(bool symmetric = false) {
  auto result = quant::quantize(linear_of(test::f5().weight), target_of(w4(symmetric)));
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

Side entries(Input input = Input::kQuantized) {
  return {Kind::kEntries,
          input,
          {{"index", at::tensor({3, 5, 31, 63}, at::kLong).view({2, 2})},
           {"value", at::tensor({1.5, -2.}, at::kDouble).to(at::kBFloat16)}},
          nullptr,
          nullptr};
}

Side columns(Input input = Input::kQuantized) {
  return {Kind::kColumns,
          input,
          {{"index", at::tensor({7, 2}, at::kLong)},
           {"value", (at::arange(2 * kOut, at::kFloat).view({kOut, 2}) / 16).to(at::kHalf)}},
          nullptr,
          nullptr};
}

Side low_rank(Input input = Input::kQuantized) {
  return {Kind::kLowRank,
          input,
          {{"left", at::arange(2 * kOut, at::kFloat).view({kOut, 2}) / 64},
           {"right", at::arange(2 * kIn, at::kFloat).view({2, kIn}) / 128}},
          nullptr,
          nullptr};
}

at::Tensor product_of(const Side& side) {
  return part(side.parts, "left").mm(part(side.parts, "right"));
}

std::string refusal(const Result& result) { return std::string(validate(result).message()); }

TEST(Result, CountsLogicalBits) {
  EXPECT_EQ(storage_bits(sample()), kOut * kIn * 4.3125);
  EXPECT_EQ(storage_bits(sample(true)), kOut * kIn * 4.25);
  Result sparse = sample();
  at::Tensor mask = at::zeros({kOut, kIn}, at::kBool);
  mask.narrow(1, 0, 32).fill_(true);
  sparse.set_mask(mask);
  EXPECT_EQ(storage_bits(sparse), kOut * kIn * (2 + 1 + .3125));
}

TEST(Result, CountsTheBitsOfSides) {
  const double plain = storage_bits(sample());
  EXPECT_EQ(storage_bits(sample().add_side(entries())), plain + 2 * (16 + 16 + 16));
  EXPECT_EQ(storage_bits(sample().add_side(columns())), plain + 2 * 16 + 2 * kOut * 16);
  EXPECT_EQ(storage_bits(sample().add_side(low_rank())), plain + 2 * (kOut + kIn) * 32);
  // Beyond 65536 columns an index no longer fits 16 bits.
  const int64_t wide = (1 << 16) + 64;
  Result result("wide", w4(true), 1, wide,
                {{"codes", at::zeros({1, wide}, at::kChar)},
                 {"scales", at::ones({1, wide / 64}, at::kBFloat16)}});
  Side one = {
      Kind::kColumns,
      Input::kQuantized,
      {{"index", at::tensor({wide - 1}, at::kLong)}, {"value", at::ones({1, 1}, at::kHalf)}},
      nullptr,
      nullptr};
  const double before = storage_bits(result);
  EXPECT_EQ(storage_bits(result.add_side(one)), before + 32 + 16);
}

TEST(Result, CountsCodesOfSeveralColumns) {
  const auto result = quant::quantize(linear_of(test::f5().weight), target_of(codec_of("e8p")));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(storage_bits(*result), kOut * kIn * 2 + kOut * 16);
}

TEST(Result, CountsWhatAMaskLeavesOfFloatsAndOfCodesOfSeveralColumns) {
  at::Tensor mask = at::zeros({kOut, kIn}, at::kBool);
  mask.narrow(1, 0, 32).fill_(true);
  Result floats = dense_result("m", test::f5().weight.to(at::kBFloat16));
  floats.set_mask(mask);
  EXPECT_EQ(storage_bits(floats), kOut * kIn * (8 + 1));
  auto blocks = quant::quantize(linear_of(test::f5().weight), target_of(codec_of("e8p")));
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  blocks->set_mask(mask);
  EXPECT_EQ(storage_bits(*blocks), kOut * kIn * (2 + 1) + kOut * 16);
}

TEST(Result, DecodesMaskSidesAndMainPathTogether) {
  const at::Tensor plain = decode(sample());
  at::Tensor mask = at::ones({kOut, kIn}, at::kBool);
  mask[0][1] = false;
  mask[3][5] = false;
  Result result = sample();
  result.set_mask(mask).add_side(low_rank()).add_side(entries()).add_side(columns());
  ASSERT_TRUE(validate(result).ok()) << validate(result);
  at::Tensor expected = plain.masked_fill(mask.logical_not(), 0);
  expected[3][5] = 1.5;
  expected[31][63] = -2.;
  const Side outliers = columns();
  expected.select(1, 7).copy_(part(outliers.parts, "value").select(1, 0));
  expected.select(1, 2).copy_(part(outliers.parts, "value").select(1, 1));
  expected = expected + product_of(low_rank());
  EXPECT_TRUE(at::equal(decode(result), expected));
  EXPECT_FALSE(decode_raw(result).defined());
  EXPECT_TRUE(at::equal(decode_whole(result), expected));
}

TEST(Result, WhatReadsTheRawInputLeavesTheMainPath) {
  Result result = sample();
  result.add_side(entries(Input::kRaw)).add_side(low_rank(Input::kRaw));
  at::Tensor main = decode(sample());
  main[3][5] = 0;
  main[31][63] = 0;
  EXPECT_TRUE(at::equal(decode(result), main));
  at::Tensor raw = at::zeros({kOut, kIn});
  raw[3][5] = 1.5;
  raw[31][63] = -2.;
  raw += product_of(low_rank());
  EXPECT_TRUE(at::equal(decode_raw(result), raw));
  EXPECT_TRUE(at::equal(decode_whole(result), main + raw));
}

// y = Q(x) (main + quantized sides)ᵀ + x (raw sides)ᵀ + b.
TEST(Result, LinearAppliesEverySideToItsInput) {
  const at::Tensor x = test::f5().input.to(at::kFloat);
  const auto tokens = codec_of(
      "int",
      {{"bits", int64_t{4}}, {"granularity", "token"}, {"symmetric", true}, {"dynamic", true}});
  for (const bool quantized : {false, true}) {
    for (const Input input : {Input::kRaw, Input::kQuantized}) {
      for (const Side& side : {entries(input), columns(input), low_rank(input)}) {
        Linear linear = linear_of(test::f5().weight);
        linear.bias = at::arange(kOut, at::kFloat);
        Result result = sample();
        result.add_side(side);
        if (quantized) result.set_activation(ActivationQuantizer{tokens, {}});
        at::Tensor main = decode(sample()), raw = at::zeros({kOut, kIn});
        at::Tensor& reads = input == Input::kRaw ? raw : main;
        if (side.kind == Kind::kLowRank) {
          reads = reads + product_of(side);
        } else {
          at::Tensor gone = main;
          const at::Tensor index = part(side.parts, "index");
          const at::Tensor value = part(side.parts, "value").to(at::kFloat);
          for (int64_t i = 0; i < 2; ++i) {
            const auto put = [&](at::Tensor& to, const at::Tensor& what) {
              if (side.kind == Kind::kColumns)
                to.select(1, index[i].item<int64_t>()).copy_(what);
              else
                to[index[i][0].item<int64_t>()][index[i][1].item<int64_t>()] = what;
            };
            put(gone, at::zeros({}));
            put(reads, side.kind == Kind::kColumns ? value.select(1, i) : value[i]);
          }
        }
        const at::Tensor seen = quantized ? tokens->quantize_input(x, {}) : x;
        const at::Tensor expected = seen.mm(main.t()) + x.mm(raw.t()) + linear.bias;
        ASSERT_TRUE(linear.set_result(result).ok());
        linear.set_view(View::kCompressed);
        const at::Tensor y = linear.apply(x);
        EXPECT_LT((y - expected).abs().max().item<float>(),
                  2e-5 * expected.abs().max().item<float>())
            << name_of(side.kind) << " quantized " << quantized;
        linear.drop_float();
        EXPECT_LT((linear.weight - decode_whole(result)).abs().max().item<float>(), 1e-6);
      }
    }
  }
}

std::shared_ptr<const Result> quantized(const at::Tensor& floats, const std::string& format,
                                        const Value::Table& keys) {
  auto result = quant::quantize(linear_of(floats), target_of(codec_of(format, keys)));
  EXPECT_TRUE(result.ok()) << result.status();
  return std::make_shared<const Result>(*std::move(result));
}

TEST(Result, FactorsMayHaveFormatsOfTheirOwn) {
  const Side floats = low_rank();
  Side side = low_rank();
  side.left = quantized(part(floats.parts, "left"), "fp8-e4m3", {{"granularity", "channel"}});
  side.right = quantized(part(floats.parts, "right"), "int",
                         {{"bits", int64_t{8}}, {"granularity", "channel"}});
  side.parts.clear();
  Result result = sample();
  result.add_side(side);
  ASSERT_TRUE(validate(result).ok()) << validate(result);
  EXPECT_TRUE(
      at::equal(decode(result), decode(sample()) + decode(*side.left).mm(decode(*side.right))));
  EXPECT_EQ(storage_bits(result),
            storage_bits(sample()) + kOut * (2 * 8 + 16) + 2 * (kIn * 8 + 16));
  side.input = Input::kRaw;
  Result raw = sample();
  raw.add_side(side);
  EXPECT_TRUE(at::equal(decode_raw(raw), decode(*side.left).mm(decode(*side.right))));
  EXPECT_NE(digest(raw), digest(result));
  Side other = side;
  Result changed = *side.left;
  changed.set_part("scales", changed.part("scales") * 2);
  other.left = std::make_shared<const Result>(changed);
  EXPECT_NE(digest(sample().add_side(other)), digest(raw));
  other = side;
  other.right =
      quantized(at::ones({3, kIn}), "int", {{"bits", int64_t{8}}, {"granularity", "channel"}});
  EXPECT_THAT(refusal(sample().add_side(other)),
              HasSubstr("a low-rank side path: right is 3 x 64, expected 2 x 64"));
  other = side;
  other.parts = floats.parts;
  EXPECT_THAT(refusal(sample().add_side(other)), HasSubstr("left is there twice"));
  changed = *side.left;
  changed.set_part("scales", at::zeros({1, 1}));
  other = side;
  other.left = std::make_shared<const Result>(changed);
  EXPECT_THAT(refusal(sample().add_side(other)), HasSubstr("scales is [1, 1], expected [32, 1]"));
}

TEST(Result, CopiesShareTensorsAndSettersLeaveOthersAlone) {
  const Result first = sample();
  Result second = first;
  EXPECT_EQ(second.part("codes").const_data_ptr(), first.part("codes").const_data_ptr());
  second.set_name("other").set_part("scales", first.part("scales") * 2).add_side(entries());
  second.set_mask(at::ones({kOut, kIn}, at::kBool)).set_provenance("elsewhere");
  second.set_online_transform("hadamard 64");
  EXPECT_EQ(first.name(), "layer.proj");
  EXPECT_EQ(first.provenance(), "");
  EXPECT_EQ(first.online_transform(), "");
  EXPECT_TRUE(first.sides().empty());
  EXPECT_FALSE(first.mask().defined());
  EXPECT_TRUE(at::equal(first.part("scales") * 2, second.part("scales")));
  EXPECT_EQ(second.part("codes").const_data_ptr(), first.part("codes").const_data_ptr());
  const Result third = second;
  EXPECT_EQ(digest(third), digest(second));
  EXPECT_TRUE(Result().empty());
  EXPECT_FALSE(third.empty());
}

TEST(Result, DigestSeesEveryStoredBitAndNothingElse) {
  const Result result = sample();
  const std::string before = digest(result);
  EXPECT_EQ(before.size(), 32u);
  EXPECT_EQ(digest(Result(result).set_provenance("elsewhere")), before);
  std::set<std::string> seen{before};
  const auto is_new = [&](Result other) { return seen.insert(digest(other)).second; };
  at::Tensor scales = result.part("scales").clone(), codes = result.part("codes").clone();
  at::Tensor zeros = result.part("zeros").clone();
  scales[7][0] = scales[7][0] * 2;
  codes[31][63] = -codes[31][63] - 1;
  zeros[0][0] = -zeros[0][0] - 1;
  EXPECT_TRUE(is_new(Result(result).set_part("scales", scales)));
  EXPECT_TRUE(is_new(Result(result).set_part("codes", codes)));
  EXPECT_TRUE(is_new(Result(result).set_part("zeros", zeros)));
  EXPECT_TRUE(is_new(Result(result).set_name("other")));
  at::Tensor mask = at::ones({kOut, kIn}, at::kBool);
  EXPECT_TRUE(is_new(Result(result).set_mask(mask)));
  mask = mask.clone();
  mask[5][5] = false;
  EXPECT_TRUE(is_new(Result(result).set_mask(mask)));
  for (const Input input : {Input::kRaw, Input::kQuantized}) {
    for (const Side& side : {entries(input), columns(input), low_rank(input)}) {
      EXPECT_TRUE(is_new(Result(result).add_side(side)));
      for (const auto& [name, tensor] : side.parts) {
        Side other = side;
        other.parts[name] = tensor.flip(0);
        EXPECT_TRUE(is_new(Result(result).add_side(other))) << name_of(side.kind) << " " << name;
      }
    }
  }
  EXPECT_TRUE(is_new(Result(result).add_side(entries()).add_side(entries())));
  EXPECT_TRUE(is_new(Result(result).set_online_transform("hadamard 64")));
  const auto dynamic =
      codec_of("int", {{"bits", int64_t{8}}, {"granularity", "token"}, {"dynamic", true}});
  const auto fixed =
      codec_of("int", {{"bits", int64_t{8}}, {"granularity", "tensor"}, {"dynamic", false}});
  EXPECT_TRUE(is_new(Result(result).set_activation(ActivationQuantizer{dynamic, {}})));
  EXPECT_TRUE(is_new(
      Result(result).set_activation(ActivationQuantizer{fixed, fixed->input_levels(-1, 1)})));
  EXPECT_TRUE(is_new(
      Result(result).set_activation(ActivationQuantizer{fixed, fixed->input_levels(-1, 2)})));
  EXPECT_NE(digest(result.part("codes")), digest(result.part("codes").flatten()));
  EXPECT_EQ(digest(codes.t()), digest(codes.t().contiguous()));
}

TEST(Result, ValidationNamesLinearAndPart) {
  ASSERT_TRUE(validate(sample()).ok()) << validate(sample());
  at::Tensor codes = sample().part("codes").clone();
  codes[3][4] = 8;
  EXPECT_THAT(
      refusal(sample().set_part("codes", codes)),
      HasSubstr("layer.proj: codes is a tensor with the code 8, expected codes that have a value"));
  EXPECT_THAT(refusal(sample().set_part("scales", sample().part("scales").narrow(0, 0, 31))),
              HasSubstr("layer.proj: scales is [31, 1], expected [32, 1]"));
  at::Tensor scales = sample().part("scales").clone();
  scales[2][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(sample().set_part("scales", scales)),
              HasSubstr("layer.proj: scales is not finite everywhere, expected finite numbers"));
  EXPECT_THAT(refusal(sample().set_part("zeros", at::Tensor())),
              HasSubstr("layer.proj: zeros is missing, expected [32, 1]"));
  EXPECT_THAT(refusal(sample().set_part("codes", codes.to(at::kInt))),
              HasSubstr("layer.proj: codes is Int, expected Char"));
  EXPECT_THAT(refusal(sample(true).set_part("zeros", sample().part("zeros"))),
              HasSubstr("layer.proj: zeros is present, expected no such part in this format"));
  EXPECT_THAT(refusal(Result()), HasSubstr("the result is empty"));
  EXPECT_THAT(refusal(Result("m", w4(), 0, 0, {})), HasSubstr("expected rows and columns"));
  EXPECT_THAT(refusal(sample().set_mask(at::ones({kOut, 2}, at::kBool))),
              HasSubstr("layer.proj: mask is [32, 2], expected [32, 64]"));
  EXPECT_THAT(refusal(sample().set_mask(at::ones({kOut, kIn}))),
              HasSubstr("layer.proj: mask is Float, expected Bool"));
}

std::string refusal_of(Side side, const char* name, const at::Tensor& tensor) {
  side.parts[name] = tensor;
  return refusal(sample().add_side(side));
}

TEST(Result, ValidationNamesTheSide) {
  for (const Side& side : {entries(), columns(), low_rank()})
    ASSERT_TRUE(validate(sample().add_side(side)).ok()) << validate(sample().add_side(side));
  EXPECT_THAT(
      refusal_of(entries(), "index", at::tensor({3, 5, 32, 63}, at::kLong).view({2, 2})),
      HasSubstr("layer.proj: single outliers: rows of index is in 3 .. 32, expected 0 .. 31"));
  EXPECT_THAT(refusal_of(entries(), "index", at::tensor({3, 5, 31, -1}, at::kLong).view({2, 2})),
              HasSubstr("columns of index is in -1 .. 5, expected 0 .. 63"));
  EXPECT_THAT(refusal_of(entries(), "index", at::tensor({3, 5, 3, 5}, at::kLong).view({2, 2})),
              HasSubstr("index is a list that repeats itself, expected every entry once"));
  EXPECT_THAT(refusal_of(entries(), "index", at::tensor({3, 5, 31, 63}, at::kInt).view({2, 2})),
              HasSubstr("index is Int, expected Long"));
  EXPECT_THAT(refusal_of(entries(), "value", at::ones({3})),
              HasSubstr("value is [3], expected [2]"));
  EXPECT_THAT(refusal_of(columns(), "index", at::tensor({2, 64}, at::kLong)),
              HasSubstr("layer.proj: outlier columns: index is in 2 .. 64, expected 0 .. 63"));
  EXPECT_THAT(refusal_of(columns(), "index", at::tensor({2, 2}, at::kLong)),
              HasSubstr("expected every column once"));
  EXPECT_THAT(refusal_of(columns(), "value", at::ones({kOut, 3})),
              HasSubstr("value is [32, 3], expected [32, 2]"));
  EXPECT_THAT(refusal_of(columns(), "scales", at::ones({1})), HasSubstr("scales is present"));
  EXPECT_THAT(refusal_of(low_rank(), "right", at::ones({3, kIn})),
              HasSubstr("layer.proj: a low-rank side path: right is [3, 64], expected [2, 64]"));
  const at::Tensor infinite = at::ones({kOut, 2}) * std::numeric_limits<float>::infinity();
  EXPECT_THAT(refusal_of(low_rank(), "left", infinite), HasSubstr("left is not finite everywhere"));
  EXPECT_THAT(refusal_of(columns(), "value", infinite),
              HasSubstr("value is not finite everywhere"));
}

TEST(Result, HoldsFloatsAsTheyAre) {
  const at::Tensor weight = test::f5().weight.to(at::kBFloat16);
  const Result result = dense_result("m", weight);
  ASSERT_TRUE(validate(result).ok()) << validate(result);
  EXPECT_TRUE(at::equal(decode(result), weight.to(at::kFloat)));
  EXPECT_EQ(storage_bits(result), kOut * kIn * 16);
  EXPECT_EQ(decoded_type(result), at::kBFloat16);
}

// Masks: any, two of four, whole rows.
at::Tensor mask_of(const std::string& kind, const at::Tensor& weight) {
  if (kind == "free") return weight.abs().gt(0.06);
  if (kind == "rows") {
    at::Tensor mask = at::ones(weight.sizes(), at::kBool);
    mask.slice(0, 1, kOut, 5).fill_(false);
    return mask;
  }
  const at::Tensor fours = weight.abs().view({-1, 4});
  return fours.ge(std::get<0>(fours.sort(1)).select(1, 2).unsqueeze(1)).view(weight.sizes());
}

class Masks : public ::testing::TestWithParam<const char*> {};

TEST_P(Masks, PrunedWeightsDecodeToZeroAndTheSweepSpreadsTheirError) {
  const test::Fixture fixture = test::f5();
  Linear linear = linear_of(fixture.weight);
  linear.mask = mask_of(GetParam(), fixture.weight);
  const at::Tensor gone = linear.mask.logical_not();
  const auto factor =
      solve::factorize(fixture.hessian().to(at::kFloat), 0.01, solve::Order::kNatural);
  ASSERT_TRUE(factor.ok());
  for (const bool symmetric : {true, false}) {
    const Target target = target_of(w4(symmetric));
    const auto rounded = quant::quantize(linear, target);
    const auto swept = solve::column_sweep(linear, *factor, target);
    ASSERT_TRUE(rounded.ok() && swept.ok());
    for (const Result* result : {&*rounded, &swept->result}) {
      EXPECT_TRUE(validate(*result).ok()) << validate(*result);
      EXPECT_EQ(decode(*result).masked_select(gone).abs().max().item<float>(), 0);
      EXPECT_EQ(storage_bits(*result),
                4 * linear.mask.sum().item<int64_t>() + kOut * kIn + kOut * (symmetric ? 16 : 20));
      // Who does not know of masks reads zeros too.
      EXPECT_EQ(result->codec()
                    ->decode(result->parts(), kOut, kIn)
                    .masked_select(gone)
                    .abs()
                    .max()
                    .item<float>(),
                0);
    }
    if (std::string(GetParam()) == "rows") {
      EXPECT_LT(fixture.error(decode(swept->result)), fixture.error(decode(*rounded)));
      continue;
    }
    // Rounding to nearest adds to the error of masking; the sweep ends below it.
    const double masked = fixture.error(fixture.weight.masked_fill(gone, 0));
    EXPECT_LT(fixture.error(decode(swept->result)), masked);
    EXPECT_LT(fixture.error(decode(swept->result)), 0.9 * fixture.error(decode(*rounded)));
  }
}

TEST_P(Masks, ALinearHandsItsMaskToItsResult) {
  Linear linear = linear_of(test::f5().weight);
  linear.mask = mask_of(GetParam(), linear.weight);
  ASSERT_TRUE(linear.set_result(sample()).ok());
  EXPECT_TRUE(at::equal(linear.result()->mask(), linear.mask));
  linear.set_view(View::kCompressed);
  EXPECT_EQ(
      linear.effective_weight().masked_select(linear.mask.logical_not()).abs().max().item<float>(),
      0);
}

INSTANTIATE_TEST_SUITE_P(All, Masks, ::testing::Values("free", "twoOfFour", "rows"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace swage
