// What every number format promises, whatever it is: over all that the SDK brings, each with its
// defaults and with each of its choices.
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "swage/quant/quantizer.h"
#include "swage/quant/scalar_grid.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int64_t kRows = 5, kColumns = 512;  // of which every format can cut groups and blocks

class EveryFormat : public ::testing::TestWithParam<Scheme> {
 protected:
  void SetUp() override {
    codec_ = codec_of(GetParam());
    ASSERT_NE(codec_, nullptr);
    request_.importance = at::full({kColumns}, 1.0f);
  }

  const std::shared_ptr<const Codec>& codec() const { return codec_; }
  const FitRequest& request() const { return request_; }

  std::shared_ptr<const Codec> codec_;
  FitRequest request_;
};

// Scalar formats alone: one scale a group, or two levels, with or without offsets.
class EveryScalarFormat : public EveryFormat {
 protected:
  void SetUp() override {
    EveryFormat::SetUp();
    if (!codec_) return;
    if (codec_->block_columns() > 0) GTEST_SKIP() << "rounds blocks";
    const auto levels = codec_->fit(random_matrix(kRows, kColumns), request_);
    ASSERT_TRUE(levels.ok()) << levels.status();
    const auto grid = codec_->grid(*levels, kRows, kColumns);
    ASSERT_TRUE(grid.ok()) << grid.status();
    table_ = grid->table;
  }

  const quant::ScalarTable& table() const { return *table_; }

  quant::ScalarTable::Pointer table_;
};

// Formats without a zero, whose values lie on both sides of it: what is nearest to zero there, as a
// multiple of the scale. 0: zeros decode to zero under every scale.
double nearest_to_zero(const std::string& format) {
  if (format == "iq4_nl") return 1;
  return format == "e8p" ? 0.25 : 0;
}

std::string name_of(const ::testing::TestParamInfo<Scheme>& info) {
  std::string name = absl::StrCat(info.param.format);
  for (const auto& [key, value] : info.param.keys)
    absl::StrAppend(&name, "_", key, "_", to_json(value, -1));
  std::string plain;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      plain += c;
    else if (c != '"')
      plain += '_';
  }
  return plain;
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, ::testing::ValuesIn(weight_schemes()), name_of);
INSTANTIATE_TEST_SUITE_P(Formats, EveryScalarFormat, ::testing::ValuesIn(weight_schemes()),
                         name_of);

TEST_P(EveryFormat, WhatItDecodesToItEncodesToItself) {
  const at::Tensor weight = random_matrix(kRows, kColumns);
  const Parts parts = quantized(*codec(), weight, request());
  const absl::Status valid = codec()->validate(parts, kRows, kColumns);
  EXPECT_TRUE(valid.ok()) << valid;
  const at::Tensor decoded = codec()->decode(parts, kRows, kColumns);
  EXPECT_EQ(decoded.scalar_type(), at::kFloat);
  const at::Tensor again = codec()->decode(codec()->encode(decoded, parts), kRows, kColumns);
  EXPECT_TRUE(again.equal(decoded)) << (again - decoded).abs().max();
  EXPECT_TRUE(codec()->decode(parts, kRows, kColumns).equal(decoded));
}

TEST_P(EveryFormat, ComesCloserThanASignWould) {
  const at::Tensor weight = random_matrix(kRows, kColumns);
  const at::Tensor decoded = round_trip(*codec(), weight, request());
  const at::Tensor sign = weight.sign() * weight.abs().mean(1, true);
  EXPECT_LT((decoded - weight).square().sum().item<double>(),
            (sign - weight).square().sum().item<double>());
}

TEST_P(EveryFormat, ReadsStridedWeightsAndDoubles) {
  const at::Tensor weight = random_matrix(kRows, kColumns);
  const Parts parts = quantized(*codec(), weight, request());
  const at::Tensor strided = weight.t().contiguous().t();
  ASSERT_FALSE(strided.is_contiguous());
  EXPECT_TRUE(same_parts(quantized(*codec(), strided, request()), parts));
  const at::Tensor decoded = codec()->decode(parts, kRows, kColumns);
  const at::Tensor wide = round_trip(*codec(), weight.to(at::kDouble), request());
  // Ties and searches may fall otherwise in fp64, but seldom.
  EXPECT_LT((wide - decoded).square().sum().item<double>(),
            0.3 * (decoded - weight).square().sum().item<double>() + 1e-12);
}

TEST_P(EveryFormat, TakesZerosConstantsSubnormalAndHugeValues) {
  const at::Tensor zero = at::zeros({kRows, kColumns});
  // Where there is no zero, a scale that is never zero is the least of fp16.
  const bool scaled = nearest_to_zero(GetParam().format) > 0 && codec()->block_columns() == 0;
  EXPECT_EQ(round_trip(*codec(), zero, request()).abs().max().item<double>(),
            scaled ? nearest_to_zero(GetParam().format) * 0x1p-24 : 0);
  for (const double value : {1.0, -0.3, 1e-40, -1e-45, 1e-20, 1e38, -1e38}) {
    const at::Tensor weight = at::full({kRows, kColumns}, static_cast<float>(value));
    const auto levels = codec()->fit(weight, request());
    if (!levels.ok()) {
      EXPECT_GT(std::abs(value), 1e37) << levels.status();
      EXPECT_THAT(std::string(levels.status().message()), HasSubstr("scale")) << value;
      continue;
    }
    const Parts parts = codec()->encode(weight, *levels);
    const absl::Status valid = codec()->validate(parts, kRows, kColumns);
    EXPECT_TRUE(valid.ok()) << value << ": " << valid;
    const at::Tensor decoded = codec()->decode(parts, kRows, kColumns);
    EXPECT_TRUE(at::isfinite(decoded).all().item<bool>()) << value;
    const double error = (decoded - weight).abs().max().item<double>();
    EXPECT_LE(error, 0.35 * std::abs(value) + 1e-7) << value;
  }
}

TEST_P(EveryFormat, ARowOfZerosAndOneOfDustStandBesideOthers) {
  at::Tensor weight = random_matrix(kRows, kColumns);
  weight[1].fill_(0);
  weight[2].mul_(1e-6);
  const Parts parts = quantized(*codec(), weight, request());
  const absl::Status valid = codec()->validate(parts, kRows, kColumns);
  EXPECT_TRUE(valid.ok()) << valid;
  const at::Tensor decoded = codec()->decode(parts, kRows, kColumns);
  // A scale may be that of all rows: what is nearest to zero under it stands for zero and dust.
  double unit = nearest_to_zero(GetParam().format);
  if (unit > 0) {
    const at::Tensor scales = part(parts, "scales").to(at::kDouble);
    unit *= scales[scales.size(0) > 1 ? 1 : 0].max().item<double>();
  }
  EXPECT_LE(decoded[1].abs().max().item<double>(), unit);
  EXPECT_LE((decoded - weight)[2].abs().max().item<double>(),
            weight[2].abs().max().item<double>() * 1.1 + std::max(0.01, unit));
}

TEST_P(EveryFormat, RefusesValuesThatAreNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    at::Tensor weight = random_matrix(kRows, kColumns);
    weight[3][77] = value;
    const auto levels = codec()->fit(weight, request());
    ASSERT_FALSE(levels.ok()) << value;
    EXPECT_EQ(levels.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(levels.status().message());
    EXPECT_THAT(message, HasSubstr("row 3, column 77"));
    EXPECT_THAT(message, HasSubstr(std::isnan(value) ? "NaN" : "infinity"));
  }
}

TEST_P(EveryFormat, TakesAnyWidthOrRefusesThoseThatItCannotCut) {
  const int64_t multiple = codec()->column_multiple();
  if (multiple == 1) {
    const at::Tensor weight = random_matrix(kRows, 37);
    const Parts parts = quantized(*codec(), weight);
    const absl::Status valid = codec()->validate(parts, kRows, 37);
    EXPECT_TRUE(valid.ok()) << valid;
    EXPECT_EQ(codec()->decode(parts, kRows, 37).sizes(), weight.sizes());
    return;
  }
  const auto levels = codec()->fit(random_matrix(kRows, multiple + multiple / 2), {});
  ASSERT_FALSE(levels.ok());
  EXPECT_THAT(std::string(levels.status().message()), HasSubstr(absl::StrCat(multiple)));
}

TEST_P(EveryFormat, RefusesWhatIsNoMatrix) {
  EXPECT_FALSE(codec()->fit(at::ones({kColumns}), {}).ok());
  EXPECT_FALSE(codec()->fit(at::ones({0, kColumns}), {}).ok());
}

TEST_P(EveryFormat, GivesTheSameBitsWithOneThreadAndWithTwo) {
  constexpr int64_t kMany = 300;
  const at::Tensor weight = random_matrix(kMany, kColumns);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Parts one = quantized(*codec(), weight, request());
  const at::Tensor decoded = codec()->decode(one, kMany, kColumns);
  at::set_num_threads(2);
  const Parts two = quantized(*codec(), weight, request());
  EXPECT_TRUE(same_parts(one, two));
  EXPECT_TRUE(same_bits(codec()->decode(two, kMany, kColumns), decoded));
  at::set_num_threads(before);
}

TEST_P(EveryFormat, CountsTheBitsThatItPlanned) {
  for (const at::ScalarType open : {at::kFloat, at::kHalf}) {
    FitRequest with = request();
    with.scale_dtype = open;
    const Parts parts = quantized(*codec(), random_matrix(kRows, kColumns), with);
    EXPECT_EQ(codec()->level_bits(parts), codec()->planned_level_bits(kRows, kColumns, open));
  }
  EXPECT_GT(codec()->code_bits(), 0);
}

TEST_P(EveryFormat, RefusesPartsThatAreNotItsOwn) {
  const Parts parts = quantized(*codec(), random_matrix(kRows, kColumns), request());
  const auto refused = [&](const Parts& changed, const std::string& name) {
    const absl::Status status = codec()->validate(changed, kRows, kColumns);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  };
  for (const auto& [name, tensor] : parts) {
    Parts changed = parts;
    changed[name] = at::cat({tensor, tensor}, 0);
    refused(changed, name);
    changed[name] = tensor.unsqueeze(0);
    refused(changed, name);
    changed[name] = tensor.to(at::kInt);
    refused(changed, name);
    changed.erase(name);
    refused(changed, name);
    if (!tensor.is_floating_point()) continue;
    changed[name] = tensor.to(at::kFloat).clone();
    changed[name].view({-1})[0] = std::numeric_limits<float>::quiet_NaN();
    changed[name] = changed[name].to(tensor.scalar_type());
    refused(changed, name);
  }
  Parts changed = parts;
  changed["stranger"] = at::ones({1});
  refused(changed, "stranger");
  EXPECT_FALSE(codec()->validate(parts, kRows + 1, kColumns).ok());
  EXPECT_FALSE(codec()->validate({}, kRows, kColumns).ok());
}

TEST_P(EveryFormat, RefusesScalesBeyondTheirType) {
  FitRequest with = request();
  with.scale_dtype = at::kHalf;
  at::Tensor weight = random_matrix(kRows, kColumns);
  weight[2][100] = 1e38f;
  const auto levels = codec()->fit(weight, with);
  if (levels.ok()) {  // scales of another type, which have room
    const at::Tensor decoded = codec()->decode(codec()->encode(weight, *levels), kRows, kColumns);
    EXPECT_TRUE(at::isfinite(decoded).all().item<bool>());
    EXPECT_GT(decoded[2][100].item<float>(), 5e37f);
  } else {
    EXPECT_EQ(levels.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(levels.status().message());
    EXPECT_THAT(message, AnyOf(HasSubstr("scale of "), HasSubstr("an entry of the table of ")));
    EXPECT_THAT(message, AnyOf(HasSubstr("row "), HasSubstr("of all rows")));
  }
}

// Codes × scales: each code in each group of a matrix, levels from weights of many sizes.
TEST_P(EveryScalarFormat, EveryCodeStandsForItsValueUnderEveryScale) {
  constexpr int64_t kManyRows = 24;
  at::Tensor weight = random_matrix(kManyRows, kColumns);
  for (int64_t r = 0; r < kManyRows; ++r) weight[r].mul_(std::exp2(static_cast<double>(r) - 12));
  Parts parts = quantized(*codec(), weight, request());
  std::vector<int64_t> known;
  for (int64_t code = 0; code < 256; ++code)
    if (!std::isnan(table().values()[code])) known.push_back(code);
  at::Tensor codes = at::empty({kManyRows, kColumns}, at::kByte);
  for (int64_t i = 0; i < codes.numel(); ++i)
    codes.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(known[(i * 7) % known.size()]);
  parts["codes"] = codes.view(table().type());
  const absl::Status valid = codec()->validate(parts, kManyRows, kColumns);
  ASSERT_TRUE(valid.ok()) << valid;
  const at::Tensor decoded = codec()->decode(parts, kManyRows, kColumns);
  ASSERT_TRUE(at::isfinite(decoded).all().item<bool>());
  const auto grid = codec()->grid(parts, kManyRows, kColumns);
  ASSERT_TRUE(grid.ok()) << grid.status();
  EXPECT_TRUE(quant::decode_plain(parts["codes"], *grid).equal(decoded));
  const Parts again = codec()->encode(decoded, parts);
  EXPECT_TRUE(codec()->decode(again, kManyRows, kColumns).equal(decoded));
  // What has no value is refused.
  for (int64_t code = 0; code < 256; ++code) {
    if (!std::isnan(table().values()[code])) continue;
    Parts wrong = parts;
    wrong["codes"] = codes.clone();
    wrong["codes"][3][5] = code;
    wrong["codes"] = wrong["codes"].view(table().type());
    EXPECT_FALSE(codec()->validate(wrong, kManyRows, kColumns).ok()) << code;
  }
}

// The plain version on tensors is the definition for devices without kernels.
TEST_P(EveryScalarFormat, PlainTensorsGiveTheBitsOfTheKernels) {
  const bool integers = table().kind() == quant::ScalarTable::Kind::kIntegers;
  for (const int64_t columns : {1, 7, 16, 37, 130}) {
    for (const at::ScalarType decoded : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const bool offset : {false, true}) {
        quant::ScalarGrid grid;
        grid.table = table_;
        grid.width = 13;
        grid.height = 2;
        grid.decoded = decoded;
        const at::Tensor weight = random_matrix(kRows, columns, 7);
        const int64_t groups = (columns + grid.width - 1) / grid.width;
        grid.scale =
            (random_matrix(3, groups, 3).abs() + 0.01) / std::max(1.f, table().greatest()) * 4;
        grid.scale[0][0].neg_();
        if (integers) grid.zero = (random_matrix(3, groups, 4) * 100).clamp(-2, 1);
        if (offset) grid.offset = random_matrix(3, groups, 5) / 10;
        const at::Tensor codes = quant::encode(weight, grid);
        EXPECT_TRUE(same_bits(quant::encode_plain(weight, grid), codes)) << columns;
        const at::Tensor values = quant::decode(codes, grid);
        EXPECT_TRUE(same_bits(quant::decode_plain(codes, grid), values)) << columns;
        EXPECT_TRUE(same_bits(quant::round_trip(weight, grid), values)) << columns;
      }
    }
  }
}

// Values right between two, and right beside: where roundings differ if they do.
TEST_P(EveryScalarFormat, PlainTensorsTakeTiesAsTheKernelsDo) {
  std::vector<float> values(table().sorted().begin(), table().sorted().end());
  std::vector<float> near;
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = (values[i] + values[i + 1]) / 2;
    for (const float x :
         {values[i], middle, std::nextafter(middle, -1e9f), std::nextafter(middle, 1e9f)})
      near.push_back(x);
  }
  near.push_back(values.back() * 4);
  near.push_back(values.front() * 4);
  quant::ScalarGrid grid;
  grid.table = table_;
  grid.width = static_cast<int64_t>(near.size());
  grid.scale = at::ones({1, 1});
  const at::Tensor weight = at::tensor(at::ArrayRef<float>(near)).view({1, grid.width});
  const at::Tensor codes = quant::encode(weight, grid);
  EXPECT_TRUE(same_bits(quant::encode_plain(weight, grid), codes));
  const at::Tensor wide = quant::encode(weight.to(at::kDouble), grid);
  EXPECT_TRUE(same_bits(quant::encode_plain(weight.to(at::kDouble), grid), wide));
}

// The output error of a result, tr((Q - W) H (Q - W)ᵀ).
double output_error_of(const Result& result, const at::Tensor& weight, const at::Tensor& hessian) {
  const at::Tensor error = (decode(result) - weight).to(at::kDouble);
  return (error.mm(hessian.to(at::kDouble)) * error).sum().item<double>();
}

// The column sweep takes every format, and its plain version does the same.
TEST(Formats, AllAreSweptAndGainByIt) {
  constexpr int64_t kOut = 24, kIn = 512;
  Linear linear;
  linear.name = "linear";
  linear.weight = random_matrix(kOut, kIn);
  at::Tensor x = random_matrix(1024, kIn, 3);
  x = x + 0.7 * x.roll(1, 1);
  const at::Tensor hessian = x.t().mm(x);
  for (const BuiltinFormat& format : builtin_formats_by_name()) {
    SCOPED_TRACE(format.name);
    Target target{codec_of(format.name), {}};
    const auto factor = solve::factorize(hessian, 0.01, solve::Order::kNatural,
                                         std::max<int64_t>(1, target.codec->block_columns()));
    ASSERT_TRUE(factor.ok()) << factor.status();
    const auto swept = solve::column_sweep(linear, *factor, target);
    ASSERT_TRUE(swept.ok()) << swept.status();
    const absl::Status valid = validate(swept->result);
    EXPECT_TRUE(valid.ok()) << valid;
    const auto nearest = quant::quantize(linear, target);
    ASSERT_TRUE(nearest.ok()) << nearest.status();
    EXPECT_LT(output_error_of(swept->result, linear.weight, hessian),
              output_error_of(*nearest, linear.weight, hessian) * 0.95);
    if (target.codec->block_columns() > 0) continue;
    // In fp64 the fast and the plain version agree to the bit, rare ties aside.
    const auto levels = target.codec->fit(linear.weight, {});
    const auto grid = target.codec->grid(*levels, kOut, kIn);
    ASSERT_TRUE(grid.ok()) << grid.status();
    const at::Tensor wide = linear.weight.to(at::kDouble);
    const at::Tensor fast = solve::sweep_codes(wide, *factor, *grid, {}, nullptr);
    const at::Tensor plain = solve::sweep_codes_plain(wide, *factor, *grid, {}, nullptr);
    const at::Tensor differs =
        fast.contiguous().view(at::kByte).ne(plain.contiguous().view(at::kByte));
    EXPECT_LE(differs.sum().item<int64_t>(), kOut * kIn / 500);
  }
}

// What a search finds is never worse by its own measure than what it begins with.
TEST(Fits, ASearchIsNotWorseThanTheExtremesInAnyGroup) {
  const at::Tensor weight = random_matrix(40, kColumns, 9);
  FitRequest request;
  request.importance = random_matrix(1, kColumns, 11).square().flatten();
  int formats = 0;
  for (const BuiltinFormat& format : builtin_formats_by_name()) {
    // Blocks of GGUF choose their levels together, by squares: they promise less of each group.
    bool searches = false, alone = false;
    for (const FormatKey& key : format.keys) {
      alone |= key.name == "mse_norm";
      if (key.name != "range") continue;
      for (const Value& choice : key.choices) searches |= choice == Value("weighted");
    }
    if (!searches) continue;
    ++formats;
    const auto codec = codec_of(format.name);
    const int64_t width = std::max(codec->group_width(kColumns), codec->column_multiple());
    const auto cost = [&](const char* range, double norm, bool weighted) {
      FitRequest with = request;
      with.range = range;
      const at::Tensor error =
          (round_trip(*codec, weight, with) - weight).to(at::kDouble).abs().pow(norm);
      return (weighted ? error * request.importance : error).view({40, -1, width}).sum(2);
    };
    const auto not_worse = [&](const at::Tensor& better, const at::Tensor& other) {
      return better.le(other * 1.0001 + 1e-12).all().item<bool>();
    };
    const double norm = alone ? 2.4 : 2;
    const auto all = [&](const at::Tensor& costs) { return alone ? costs : costs.sum(); };
    const at::Tensor extremes = cost("minmax", 2, true), weighted = cost("weighted", 2, true);
    EXPECT_TRUE(not_worse(weighted, extremes)) << format.name;
    EXPECT_TRUE(not_worse(all(weighted), all(cost("mse", 2, true)))) << format.name;
    EXPECT_TRUE(not_worse(all(cost("mse", norm, false)), all(cost("minmax", norm, false))))
        << format.name;
    EXPECT_LT(weighted.sum().item<double>(), extremes.sum().item<double>()) << format.name;
  }
  EXPECT_GT(formats, 8);
}

// Schemes without keys and with every default written out are one scheme.
TEST(Formats, WithoutKeysHaveTheDefaultsOfTheirManifest) {
  const at::Tensor weight = random_matrix(kRows, kColumns);
  for (const BuiltinFormat& format : builtin_formats_by_name()) {
    Scheme full{format.name, {}};
    for (const FormatKey& key : format.keys) {
      if (!key.of_weights) continue;
      if (!key.when_key.empty() &&
          (full.keys.count(key.when_key) == 0 || full.keys[key.when_key] != key.when_value))
        continue;
      full.keys[key.name] = key.fallback;
    }
    const auto bare = codec_of(format.name), whole = codec_of(full);
    EXPECT_EQ(bare->describe(), whole->describe());
    FitRequest request;
    request.fused = {weight * 2};
    EXPECT_TRUE(same_parts(quantized(*bare, weight, request), quantized(*whole, weight, request)))
        << format.name;
    EXPECT_EQ(bare->column_multiple(), whole->column_multiple()) << format.name;
  }
}

TEST(Formats, OfOneNameAreToldApartByTheirForm) {
  std::map<std::string, std::set<std::string>> forms;
  for (const char* element : {"e2m3", "e3m2"})
    forms["mxfp6"].insert(codec_of("mxfp6", {{"element", element}})->form());
  for (const char* element : {"e4m3", "e5m2"})
    forms["mxfp8"].insert(codec_of("mxfp8", {{"element", element}})->form());
  for (const char* format : {"nvfp4", "mxfp4", "nf4"}) {
    for (const char* decoded : {"bf16", "fp32"})
      forms[format].insert(codec_of(format, {{"decoded", decoded}})->form());
  }
  for (const auto& [format, texts] : forms) EXPECT_EQ(texts.size(), 2u) << format;
}

}  // namespace
}  // namespace swage::test
