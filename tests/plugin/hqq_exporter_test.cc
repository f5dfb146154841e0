// Checkpoints of HQQ: names, types and bytes as hqq expects them.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "one_linear.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

const char kHqq[] = "hqq";

Result make(const std::string& json, at::ScalarType scales = at::kBFloat16, int64_t out = 12,
            int64_t in = 96) {
  return quantized(kOneLinear, out, in, scheme(json), scales);
}

std::string json_of(int bits, const char* rest) {
  return absl::StrCat("{\"bits\": ", bits, ", \"group\": 32", rest, "}");
}

constexpr const char* kKinds[] = {"", R"(, "symmetric": false)",
                                  R"(, "symmetric": false, "zero": "float")",
                                  R"(, "granularity": "channel")"};

TEST(Hqq, FilesDecodeToWhatWasEncoded) {
  for (const char* kind : kKinds) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const at::ScalarType scales : {at::kBFloat16, at::kHalf, at::kFloat}) {
        std::string json = json_of(bits, kind);
        if (absl::StrContains(kind, "channel")) json = absl::StrCat("{\"bits\": ", bits, kind, "}");
        SCOPED_TRACE(json);
        const Result linear = make(json, scales);
        OneLinear one(kHqq, linear);
        EXPECT_EQ(digest(one.back()), digest(linear));
        EXPECT_EQ(one.back().codec()->form(), linear.codec()->form());
      }
    }
  }
  // 7 groups of 3 bits leave three of ten places empty.
  const Result odd = make(json_of(3, ""), at::kHalf, 7, 32);
  OneLinear one(kHqq, odd);
  EXPECT_EQ(digest(one.back()), digest(odd));
}

TEST(Hqq, HaveTheNamesTypesAndShapesOfTheFormat) {
  EXPECT_THAT(
      OneLinear(kHqq, make(json_of(4, kKinds[2]))).written(),
      ElementsAre("W_q Byte [18, 32]", "axis Int []", "channel_wise Byte []",
                  "compute_dtype Byte [13]", "encoded_state_dict Byte []", "group_size Int []",
                  "nbits Int []", "offload_meta Byte []", "optimize Byte []", "packing Byte [7]",
                  "quant_scale Byte []", "quant_zero Byte []", "round_zero Byte []",
                  "scale BFloat16 [36, 1]", "shape Long [2]", "stores_quant_config Byte []",
                  "unpack_view_dtype Byte [11]", "view_as_float Byte []", "zero Float [36, 1]"));
  OneLinear three(kHqq, make(json_of(3, kKinds[1])));
  EXPECT_EQ(three.read("W_q").sizes(), at::IntArrayRef({4, 32}));
  EXPECT_EQ(three.read("W_q").scalar_type(), at::kInt);
  EXPECT_EQ(three.read("zero").scalar_type(), at::kBFloat16) << "integers fit the scales' dtype";
  EXPECT_EQ(
      to_json(three.run().config()["quantization_config"], -1),
      R"({"quant_config":{"offload_meta":false,"scale_quant_params":null,)"
      R"("weight_quant_params":{"axis":1,"channel_wise":true,"group_size":32,"nbits":3,)"
      R"("optimize":false,"round_zero":true,"view_as_float":false},"zero_quant_params":null},)"
      R"("quant_method":"hqq","skip_modules":[],)"
      R"("swage":{"common":{"channel":false,"float_zeros":false,"symmetric":false}}})");
}

// Codes by group, first to last; what the word of the first column then is.
int64_t first_word(int bits, const std::vector<int>& by_group) {
  const auto groups = static_cast<int64_t>(by_group.size());
  Result linear = make(json_of(bits, ""), at::kHalf, groups, 32);
  at::Tensor codes = at::zeros_like(linear.part("codes"));
  for (int64_t g = 0; g < groups; ++g)
    codes.select(0, g).fill_(by_group[static_cast<size_t>(g)] - (1 << (bits - 1)));
  linear.set_part("codes", codes);
  OneLinear one(kHqq, linear);
  return one.read("W_q")[0][0].item<int64_t>();
}

TEST(Hqq, PartsOfTheRowsShareAWordFirstOnesAbove) {
  EXPECT_EQ(first_word(4, {3, 12}), 0x3C);
  EXPECT_EQ(first_word(2, {0, 1, 2, 3}), 0x1B);
  EXPECT_EQ(first_word(3, {0, 1, 2, 3, 4, 5, 6, 7, 0, 1}), 21913025);
  EXPECT_EQ(first_word(8, {200, 1}), 200);
  EXPECT_EQ(first_word(6, {33, 1}), 33);
}

TEST(Hqq, ZeroPointsBeginWhereCodesDo) {
  const Result symmetric = make(json_of(4, kKinds[0]));
  EXPECT_TRUE(OneLinear(kHqq, symmetric).read("zero").eq(8).all().item<bool>());
  const Result floats = make(json_of(4, kKinds[2]), at::kFloat);
  const at::Tensor zero = OneLinear(kHqq, floats).read("zero");
  EXPECT_TRUE(at::equal(zero.view({12, 3}), floats.part("zeros") + 8));
  // One that fp32 does not hold beside 8 is refused, for nobody rounds it silently.
  Result tiny = floats;
  tiny.set_part("zeros", at::full({12, 3}, 1e-9));
  Export run(kHqq, kShards);
  const absl::Status status = run.exporter().encode(tiny, run.store());
  EXPECT_THAT(std::string(status.message()), HasSubstr("is no number of float32; write zero"));
}

TEST(Hqq, RefusesWhatItHasNoPlaceFor) {
  EXPECT_THAT(refusal(kHqq, make(R"({"bits": 7, "group": 32})")),
              HasSubstr("2, 3, 4, 5, 6 or 8 bits"));
  EXPECT_THAT(refusal(kHqq, make(R"({"bits": 4, "group": 64, "group_tail": "short"})")),
              HasSubstr("64 does not divide 96"));
  EXPECT_THAT(refusal(kHqq, make(json_of(4, ""), at::kHalf, 7, 32)),
              HasSubstr("packs 2 groups of 4 bits together, and there are 7"));
  EXPECT_THAT(refusal(kHqq, make(R"({"format": "nf4"})", at::kHalf, 4, 64)),
              HasSubstr("no place for \"nf4\""));
  Result inputs = make(json_of(4, ""));
  inputs.set_activation(activation(R"({"bits": 8})"));
  EXPECT_THAT(refusal(kHqq, inputs), HasSubstr("leaves inputs in floats"));
  EXPECT_THAT(remarks(kHqq, {summary(make(json_of(4, kKinds[2])))}),
              ElementsAre(HasSubstr("transformers 5"), HasSubstr("compute_dtype")));
}

TEST(Hqq, EveryChangedBitIsNoticed) {
  for (const char* kind : kKinds) {
    if (absl::StrContains(kind, "channel")) continue;
    OneLinear one(kHqq, make(json_of(4, kind)));
    for (const char* part :
         {"W_q", "scale", "zero", "nbits", "axis", "group_size", "shape", "packing", "quant_scale",
          "quant_zero", "view_as_float", "offload_meta"})
      EXPECT_TRUE(one.notices(part)) << kind << " " << part;
  }
}

// What hqq itself writes: no notes, everything in fp16.
TEST(Hqq, ReadsCheckpointsOfHqq) {
  const Result linear = make(json_of(4, kKinds[2]), at::kHalf);
  OneLinear one(kHqq, linear);
  TensorStore store = one.run().store();
  at::Tensor& zero = store.tensors[kOneLinear + ".zero"];
  zero = zero.to(at::kHalf);
  const Value config(Value::Table{{"model_type", "llama"}});
  const Result back = must(one.run().exporter().decode(kOneLinear, store, config));
  EXPECT_EQ(back.codec()->format(), "int");
  const at::Tensor expected =
      (linear.part("codes").to(at::kFloat).view({36, 32}) + 8 - zero.to(at::kFloat)) *
      linear.part("scales").to(at::kFloat).view({36, 1});
  EXPECT_TRUE(at::equal(decode(back), expected.view({12, 96})));
  // Groups along the other axis are no codec's.
  for (const char* part : {".scale", ".zero"})
    store.tensors[kOneLinear + part] = store.tensors[kOneLinear + part].view({1, 36});
  store.tensors[kOneLinear + ".axis"] = at::full({}, 0, at::kInt);
  store.tensors[kOneLinear + ".W_q"] = store.tensors[kOneLinear + ".W_q"].view({16, 36});
  const Result across = must(one.run().exporter().decode(kOneLinear, store, config));
  EXPECT_EQ(across.codec()->format(), "dense");
  const at::Tensor words = store.tensors[kOneLinear + ".W_q"];
  const float first = (static_cast<float>(words[0][5].item<uint8_t>() >> 4) -
                       zero.view({1, 36})[0][5].to(at::kFloat).item<float>()) *
                      store.tensors[kOneLinear + ".scale"][0][5].to(at::kFloat).item<float>();
  EXPECT_EQ(decode(across)[0][5].item<float>(), first);
}

TEST(Hqq, SaysWhatDoesNotHold) {
  OneLinear one(kHqq, make(json_of(4, kKinds[1])));
  const auto set = [&](const char* part, int64_t value) {
    return one.message(part, [&](const at::Tensor& t) { return at::full_like(t, value); });
  };
  const auto none = [](const at::Tensor&) { return at::Tensor(); };
  EXPECT_THAT(set("nbits", 7), HasSubstr("nbits is 7, expected 2, 3, 4, 5, 6 or 8"));
  EXPECT_THAT(set("nbits", 3), HasSubstr("packing is \"4bit_u8\", expected \"3bit_32\""));
  EXPECT_THAT(set("axis", 2), HasSubstr("axis is 2"));
  EXPECT_THAT(set("group_size", 0), HasSubstr("group_size is 0"));
  EXPECT_THAT(set("group_size", 7), HasSubstr("group_size is 7, expected a divisor of 12 x 96"));
  EXPECT_THAT(set("shape", int64_t{1} << 40), HasSubstr("expected rows and columns"));
  EXPECT_THAT(set("shape", 0), HasSubstr("shape is [0, 0]"));
  EXPECT_THAT(set("quant_zero", 1), HasSubstr("expected zero points in floats"));
  EXPECT_THAT(one.message("zero", none), HasSubstr("zero is missing"));
  EXPECT_THAT(one.message("W_q", none), HasSubstr("weight is missing, expected floats: there is"));
  EXPECT_THAT(one.message("W_q", [](auto& t) { return t.narrow(0, 0, 3); }),
              HasSubstr("W_q is [3, 32], expected [18, 32]"));
  EXPECT_THAT(one.message("scale", [](auto& t) { return t / 0; }), HasSubstr("not finite"));
}

}  // namespace
}  // namespace swage
