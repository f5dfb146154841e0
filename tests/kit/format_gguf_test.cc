// GGUF's formats as codecs: levels, codes and the searches for them.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "swage/quant/scalar_grid.h"
#include "swage/quant/search.h"
#include "swage/solve/column_sweep.h"
#include "tests/kit/gguf_support.h"
#include "tests/kit/llama_quants.h"

namespace swage {
namespace {

using namespace testing_gguf;
using ::testing::HasSubstr;

bool is_super(const std::string& format) { return format.back() == 'k'; }
bool has_offset(const std::string& format) {
  return format.back() == '1' || format == "q2_k" || format == "q4_k" || format == "q5_k";
}

Parts encoded(const CodecPointer& codec, const at::Tensor& weight, const FitRequest& request = {}) {
  auto levels = codec->fit(weight, request);
  EXPECT_TRUE(levels.ok()) << codec->format() << ": " << levels.status();
  return levels.ok() ? codec->encode(weight, *std::move(levels)) : Parts();
}

at::Tensor rounded(const CodecPointer& codec, const at::Tensor& weight,
                   const FitRequest& request = {}) {
  return codec->decode(encoded(codec, weight, request), weight.size(0), weight.size(1));
}

std::string refusal(const std::string& format, const at::Tensor& weight) {
  const auto levels = codec_of(format)->fit(weight, {});
  return levels.ok() ? "none" : std::string(levels.status().message());
}

// Σ importance · error² of each row.
at::Tensor errors(const at::Tensor& decoded, const at::Tensor& weight,
                  const at::Tensor& importance) {
  return ((decoded.to(at::kDouble) - weight.to(at::kDouble)).square() * importance).sum(1);
}

at::Tensor importances(int64_t columns) {
  return (gaussian(1, columns, 99, 1.5).to(at::kDouble)).exp().squeeze(0);
}

class Gguf : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Formats, Gguf, ::testing::ValuesIn(block_formats()),
                         [](const auto& info) { return info.param; });

TEST_P(Gguf, SaysItsBits) {
  const std::map<std::string, double> bits = {{"q4_0", 4.5},   {"q4_1", 5},      {"q5_0", 5.5},
                                              {"q5_1", 6},     {"q8_0", 8.5},    {"iq4_nl", 4.5},
                                              {"q2_k", 2.625}, {"q3_k", 3.4375}, {"q4_k", 4.5},
                                              {"q5_k", 5.5},   {"q6_k", 6.5625}};
  const CodecPointer codec = codec_of(GetParam());
  const at::Tensor weight = gaussian(3, 512, 1);
  const Parts parts = encoded(codec, weight);
  const int64_t levels = codec->level_bits(parts);
  EXPECT_EQ(codec->code_bits() + static_cast<double>(levels) / (3 * 512), bits.at(GetParam()));
  EXPECT_EQ(codec->planned_level_bits(3, 512, at::kFloat), levels);
  EXPECT_EQ(codec->describe(), GetParam());
  EXPECT_EQ(codec->column_multiple(), is_super(GetParam()) ? 256 : 32);
  EXPECT_EQ(codec->decoded_type(parts), at::kFloat);
}

// Levels from the least to the greatest that can be stored, every code under each of them.
Parts every_level(const std::string& format, int64_t rows) {
  const Parts like = encoded(codec_of(format), gaussian(rows, 512, 2));
  const int64_t codes = int64_t{1} << static_cast<int>(codec_of(format)->code_bits());
  Parts parts;
  for (const auto& [name, tensor] : like) {
    at::Tensor all = at::empty_like(tensor);
    const int64_t columns = tensor.size(1);
    const double halves[] = {0.01, -0.01, 0x1p-24, 65504, 0.333, -1, 0x1p-14, 100, 0.5, 3.14};
    const bool k4 = format == "q4_k" || format == "q5_k";
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      const int64_t row = i / columns, column = i % columns;
      double value;
      if (tensor.scalar_type() == at::kHalf) {
        value = halves[(row + (name[0] == 'o' ? 3 * row : 0) + column) % 10];
        if (name == "outer_mins") value = std::abs(value);
      } else if (name == "codes") {
        const bool centered = !has_offset(format) && format != "iq4_nl";
        value = static_cast<double>((column + row) % codes - (centered ? codes / 2 : 0));
      } else if (format == "q3_k") {
        value = static_cast<double>((7 * row + column) % 64 - 32);
      } else if (format == "q6_k") {
        value = static_cast<double>((37 * row + 5 * column) % 256 - 128);
      } else {
        value = static_cast<double>(((name == "mins" ? 13 : 7) * row + column) % (k4 ? 64 : 16));
      }
      all.view({-1})[i] = value;
    }
    parts.emplace(name, all);
  }
  return parts;
}

TEST_P(Gguf, RoundsWhatItDecodedToTheSameForEveryCodeAndScale) {
  constexpr int64_t kRows = 70;
  const CodecPointer codec = codec_of(GetParam());
  const Parts parts = every_level(GetParam(), kRows);
  ASSERT_TRUE(codec->validate(parts, kRows, 512).ok()) << codec->validate(parts, kRows, 512);
  const at::Tensor once = codec->decode(parts, kRows, 512);
  ASSERT_TRUE(at::isfinite(once).all().item<bool>());
  const Parts again = codec->encode(once, parts);
  EXPECT_TRUE(at::equal(codec->decode(again, kRows, 512), once));
  const Parts wide = codec->encode(once.to(at::kDouble), parts);
  EXPECT_TRUE(at::equal(codec->decode(wide, kRows, 512), once));
}

TEST_P(Gguf, RoundsWhatItDecodedToTheSameAfterAFit) {
  for (const char* range : {"minmax", "mse", "weighted"}) {
    const CodecPointer codec = codec_of(GetParam(), range);
    const at::Tensor weight = gaussian(20, 512, 3);
    const Parts parts = encoded(codec, weight);
    ASSERT_TRUE(codec->validate(parts, 20, 512).ok()) << codec->validate(parts, 20, 512);
    const at::Tensor once = codec->decode(parts, 20, 512);
    EXPECT_TRUE(at::equal(codec->decode(codec->encode(once, parts), 20, 512), once)) << range;
  }
}

TEST_P(Gguf, GivesTheSameBytesPlainAndFastAndForEveryNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const char* range : {"minmax", "weighted"}) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      const CodecPointer codec = codec_of(GetParam(), range);
      const at::Tensor weight = gaussian(77, 1024, 4).to(type);
      FitRequest request;
      request.importance = importances(1024);
      at::set_num_threads(1);
      const Parts one = encoded(codec, weight, request);
      at::set_num_threads(2);
      const Parts two = encoded(codec, weight, request);
      EXPECT_TRUE(same_parts(one, two)) << range << " " << type;
      const auto grid = codec->grid(one, 77, 1024);
      ASSERT_TRUE(grid.ok());
      EXPECT_TRUE(same_bits(quant::encode_plain(weight, *grid), part(one, "codes"))) << type;
      EXPECT_TRUE(
          same_bits(quant::decode_plain(part(one, "codes"), *grid), codec->decode(one, 77, 1024)));
    }
  }
  at::set_num_threads(before);
}

// A row's levels do not depend on the rows beside it.
TEST_P(Gguf, FitsEveryRowForItself) {
  const at::Tensor weight = gaussian(40, 512, 5);
  for (const char* range : {"minmax", "weighted"}) {
    const CodecPointer codec = codec_of(GetParam(), range);
    const Parts all = encoded(codec, weight), some = encoded(codec, weight.narrow(0, 21, 3));
    for (const auto& [name, tensor] : some)
      EXPECT_TRUE(same_bits(part(all, name).narrow(0, 21, 3), tensor)) << name;
  }
}

TEST_P(Gguf, FitsDoublesAsItFitsFloats) {
  const at::Tensor weight = gaussian(32, 512, 6), ones = at::ones({512}, at::kDouble);
  for (const char* range : {"minmax", "weighted"}) {
    const CodecPointer codec = codec_of(GetParam(), range);
    const double floats = errors(rounded(codec, weight), weight, ones).sum().item<double>();
    const double doubles =
        errors(rounded(codec, weight.to(at::kDouble)), weight, ones).sum().item<double>();
    // Where four levels are searched together, the last bits decide which of many optima, alike in
    // error but not in value, a block ends in.
    const bool many = is_super(GetParam()) && has_offset(GetParam()) && range[0] == 'w';
    EXPECT_NEAR(floats / doubles, 1, many ? 1e-2 : 1e-4) << range;
  }
}

TEST_P(Gguf, RefusesWhatIsNotFiniteByRowAndColumn) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    at::Tensor weight = gaussian(5, 256, 7).to(type);
    weight[3][77] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THAT(refusal(GetParam(), weight), HasSubstr("holds NaN at row 3, column 77"));
    weight[2][200] = -std::numeric_limits<double>::infinity();
    EXPECT_THAT(refusal(GetParam(), weight), HasSubstr("holds infinity at row 2, column 200"));
  }
}

TEST_P(Gguf, RefusesAScaleBeyondFp16AndAWidthThatIsNoBlock) {
  at::Tensor weight = gaussian(5, 256, 8);
  weight[4][100] = -1e12;
  EXPECT_THAT(refusal(GetParam(), weight),
              HasSubstr("the only dtype of scales that " + GetParam() + " stores"));
  EXPECT_THAT(refusal(GetParam(), weight), HasSubstr("row 4"));
  const std::string message = refusal(GetParam(), gaussian(5, 48, 8));
  EXPECT_THAT(message, HasSubstr(is_super(GetParam()) ? "256" : "32"));
  EXPECT_THAT(message, HasSubstr("does not divide the input width 48"));
}

TEST_P(Gguf, RoundsExtremeWeights) {
  for (const char* range : {"minmax", "mse", "weighted"}) {
    const CodecPointer codec = codec_of(GetParam(), range);
    const auto check = [&](const char* what, const at::Tensor& weight, double tolerance) {
      const Parts parts = encoded(codec, weight);
      EXPECT_TRUE(codec->validate(parts, 2, 256).ok()) << what;
      const at::Tensor decoded = codec->decode(parts, 2, 256);
      EXPECT_LE((decoded - weight).abs().max().item<double>(), tolerance) << what << " " << range;
    };
    check("zero", at::zeros({2, 256}), 1e-7);
    for (const double constant : {0.37, -0.37, 3000.0})
      check("constant", at::full({2, 256}, constant), std::abs(constant) * 2e-2);
    check("subnormal", at::full({2, 256}, 1e-40), 1e-7);
    check("tiny", gaussian(2, 256, 9, 1e-9), 1e-7);
    at::Tensor lone = at::zeros({2, 256});
    lone[1][40] = 2.5;
    check("one entry", lone, 2.5 * 2e-2);
  }
}

TEST_P(Gguf, SearchesBeatExtremesByWhatTheyWeigh) {
  const at::Tensor weight = gaussian(64, 512, 10), ones = at::ones({512}, at::kDouble);
  FitRequest request;
  request.importance = importances(512);
  const at::Tensor minmax = rounded(codec_of(GetParam()), weight);
  const at::Tensor mse = rounded(codec_of(GetParam(), "mse"), weight, request);
  const at::Tensor weighted = rounded(codec_of(GetParam(), "weighted"), weight, request);
  EXPECT_TRUE(
      (errors(mse, weight, ones) <= errors(minmax, weight, ones) * 1.0001).all().item<bool>());
  EXPECT_TRUE((errors(weighted, weight, request.importance) <=
               errors(minmax, weight, request.importance) * 1.0001)
                  .all()
                  .item<bool>());
  const auto total = [&](const at::Tensor& decoded) {
    return errors(decoded, weight, request.importance).sum().item<double>();
  };
  EXPECT_LT(total(weighted), total(mse));
  // Without importances all columns count alike.
  EXPECT_TRUE(same_bits(rounded(codec_of(GetParam(), "weighted"), weight), mse));
}

testing_llama::Floats as_llama_rounds(const std::string& format, const float* x, const float* w,
                                      int64_t columns) {
  namespace llama = testing_llama;
  const int bits = format[1] - '0', top = (1 << bits) - 1, half = 1 << (bits - 1);
  if (is_super(format)) {
    if (!has_offset(format)) return llama::super_block_around_zero(x, w, half);
    return llama::super_block(x, w, bits == 2 ? 16 : 32, top, bits == 2 ? 15 : 63);
  }
  llama::Floats row;
  for (int64_t c = 0; c < columns; c += 32) {
    const auto block = format == "iq4_nl"   ? llama::uneven(x + c, w + c, 32)
                       : format == "q8_0"   ? llama::extremes(x + c, 32)
                       : has_offset(format) ? llama::scale_and_offset(x + c, w + c, 32, top)
                                            : llama::one_scale(x + c, w + c, 32, half);
    row.insert(row.end(), block.begin(), block.end());
  }
  return row;
}

TEST_P(Gguf, SearchesAreAsGoodAsThoseOfLlamaCpp) {
  const std::string format = GetParam();
  constexpr int64_t kRows = 64, kColumns = 256;
  for (const uint64_t seed : {11, 12, 13}) {
    at::Tensor weight = gaussian(kRows, kColumns, seed);
    if (seed == 12) weight = weight * weight.abs() * 20 + 0.01;  // heavy tails, off center
    if (seed == 13) weight = weight * gaussian(kRows, kColumns, 14, 0.7).exp();
    const at::Tensor importance = importances(kColumns);
    testing_llama::Floats weights(kColumns);
    for (int64_t c = 0; c < kColumns; ++c) weights[c] = importance[c].item<float>();
    at::Tensor theirs = at::empty_like(weight);
    for (int64_t r = 0; r < kRows; ++r) {
      const float* x = weight.const_data_ptr<float>() + r * kColumns;
      const testing_llama::Floats row = as_llama_rounds(format, x, weights.data(), kColumns);
      std::copy(row.begin(), row.end(), theirs.mutable_data_ptr<float>() + r * kColumns);
    }
    FitRequest request;
    request.importance = importance;
    const at::Tensor ours = rounded(codec_of(format, "weighted"), weight, request);
    const double share =
        (errors(ours, weight, importance).sum() / errors(theirs, weight, importance).sum())
            .item<double>();
    EXPECT_LE(share, 1.0) << seed;
  }
}

TEST_P(Gguf, HonoursLimits) {
  const CodecPointer codec = codec_of(GetParam());
  const at::Tensor weight = gaussian(4, 256, 15);
  FitRequest request;
  const int64_t groups = codec->group_count(256);
  request.clip_low = at::full({4, groups}, -0.05);
  request.clip_high = at::full({4, groups}, 0.04);
  const Parts limited = *codec->fit(weight, request);
  EXPECT_TRUE(same_parts(limited, *codec->fit(weight.clamp(-0.05, 0.04), {})));
}

TEST_P(Gguf, NamesTheWrongPart) {
  const CodecPointer codec = codec_of(GetParam());
  const Parts good = encoded(codec, gaussian(3, 256, 16));
  for (const auto& [name, tensor] : good) {
    const auto verdict = [&](const at::Tensor& wrong) {
      Parts parts = good;
      parts[name] = wrong;
      return std::string(codec->validate(parts, 3, 256).message());
    };
    EXPECT_THAT(verdict(tensor.narrow(0, 0, 2)), HasSubstr(name + " is [2, "));
    EXPECT_THAT(verdict(tensor.to(at::kFloat)), HasSubstr(name + " is Float"));
    at::Tensor beyond = tensor.clone();
    if (tensor.scalar_type() == at::kHalf) {
      beyond[0][0] = std::numeric_limits<double>::infinity();
      EXPECT_THAT(verdict(beyond), HasSubstr(name + " is not finite"));
    } else if (name != "codes" ? GetParam() != "q6_k" : GetParam() != "q8_0") {
      beyond[0][0] = 100;
      EXPECT_THAT(verdict(beyond), HasSubstr(name));
    }
  }
  Parts more = good;
  more.emplace("zeros", at::zeros({1}));
  EXPECT_THAT(std::string(codec->validate(more, 3, 256).message()), HasSubstr("zeros is present"));
}

TEST_P(Gguf, SweepsColumnsWithLessErrorThanRounding) {
  const at::Tensor weight = gaussian(48, 256, 17);
  at::Tensor input = gaussian(600, 256, 18, 1);
  input = input + 0.7 * at::roll(input, 1, 1);
  const at::Tensor hessian = input.t().mm(input);
  const auto factor = solve::factorize(hessian, 0.01, solve::Order::kActivation);
  ASSERT_TRUE(factor.ok()) << factor.status();
  Linear linear;
  linear.name = "layer";
  linear.weight = weight;
  for (const char* range : {"minmax", "weighted"}) {
    Target target{codec_of(GetParam(), range), {}};
    target.request.importance = hessian.diagonal().clone();
    const auto nearest = quant::quantize(linear, target);
    const auto swept = solve::column_sweep(linear, *factor, target);
    ASSERT_TRUE(nearest.ok() && swept.ok()) << nearest.status() << swept.status();
    ASSERT_TRUE(validate(swept->result).ok()) << validate(swept->result);
    const double before = quant::output_error(decode(*nearest) - weight, hessian);
    const double after = quant::output_error(decode(swept->result) - weight, hessian);
    EXPECT_LT(after, 0.9 * before) << range;
    const auto grid = target.codec->grid(swept->result.parts(), 48, 256);
    double loss = 0;
    const at::Tensor plain =
        solve::sweep_codes_plain(weight.to(at::kDouble), *factor, *grid, at::Tensor(), &loss);
    EXPECT_NEAR(loss / swept->loss, 1, 1e-2);
    EXPECT_LE((plain != swept->result.part("codes")).sum().item<int64_t>(), 48 * 256 / 20);
  }
}

// What files hold and no fit makes: scales of zero, where codes mean nothing.
TEST(GgufZeroScales, DecodeToTheOffsetAndEncodeToTheCodeZero) {
  const CodecPointer codec = codec_of("q4_k");
  const at::Tensor weight = gaussian(2, 256, 19);
  Parts parts = encoded(codec, weight);
  parts["scales"].fill_(0);
  const at::Tensor offsets =
      -(part(parts, "outer_mins").to(at::kFloat) * part(parts, "mins").to(at::kFloat))
           .repeat_interleave(32, 1);
  EXPECT_TRUE(at::equal(codec->decode(parts, 2, 256), offsets));
  const Parts again = codec->encode(weight, parts);
  EXPECT_EQ(part(again, "codes").abs().sum().item<int64_t>(), 0);
  EXPECT_TRUE(codec->validate(again, 2, 256).ok());
}

TEST(GgufWidths, NameTheFormatThatTakesThem) {
  EXPECT_THAT(
      refusal("q4_k", gaussian(2, 576, 20)),
      HasSubstr("q4_k stores 256 columns in one block, which does not divide the input width "
                "576; q5_0 takes multiples of 32"));
}

// d = -8's share of the largest magnitude, sign kept (ggml's reference rounding).
TEST(GgufExtremes, TakeTheScalesOfTheReference) {
  at::Tensor weight = at::zeros({1, 32});
  weight[0][5] = 4;
  weight[0][6] = -2;
  Parts parts = encoded(codec_of("q4_0"), weight);
  EXPECT_EQ(part(parts, "scales").item<float>(), -0.5f);
  EXPECT_EQ(part(parts, "codes")[0][5].item<int>(), -8);
  EXPECT_EQ(part(parts, "codes")[0][6].item<int>(), 4);
  parts = encoded(codec_of("q4_1"), weight + 1);
  EXPECT_EQ(part(parts, "offsets").item<float>(), -1.f);
  EXPECT_EQ(part(parts, "scales").item<float>(), static_cast<float>(c10::Half(6.f / 15)));
  parts = encoded(codec_of("q8_0"), weight);
  EXPECT_EQ(part(parts, "codes")[0][5].item<int>(), 127);
  parts = encoded(codec_of("iq4_nl"), weight);
  EXPECT_EQ(part(parts, "codes")[0][5].item<int>(), 0);
  EXPECT_EQ(part(parts, "scales").item<float>(), static_cast<float>(c10::Half(-4.f / 127)));
}

}  // namespace
}  // namespace swage
