#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char kLinear[] = "model.layers.0.mlp.up_proj";
const Value::Table kAuto = {{"shard_size", 5000}, {"checkpoint_format", "auto"}};
const Value::Table kFirst = {{"shard_size", 5000}, {"checkpoint_format", "gptq"}};
const Value::Table kSecond = {{"shard_size", 5000}, {"checkpoint_format", "gptq_v2"}};

std::string layer(int index, const std::string& linear) {
  return "model.layers." + std::to_string(index) + "." + linear;
}

const Value& block(const Export& run) { return run.config()["quantization_config"]; }

std::vector<int32_t> words(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  const auto* data = whole.const_data_ptr<int32_t>();
  return {data, data + whole.numel()};
}

std::string with_bits(int bits, const std::string& rest) {
  return absl::StrCat(R"({"bits": )", bits, ", ", rest, "}");
}

TEST(GptqExporter, FilesDecodeToWhatWasEncoded) {
  struct Case {
    int64_t out, in;
    std::string rest;
  };
  for (const int bits : {2, 3, 4, 8}) {
    for (const Case& one : {Case{64, 96, R"("group": 32)"}, Case{32, 96, R"("group": 96)"},
                            Case{96, 64, R"("granularity": "channel")"},
                            Case{64, 96, R"("group": 16, "symmetric": false)"},
                            Case{32, 32, R"("granularity": "channel", "symmetric": false)"},
                            Case{160, 288, R"("group": 24, "convention": "gptq")"}}) {
      for (const at::ScalarType scales : {at::kBFloat16, at::kHalf}) {
        for (const Value::Table& params : {kAuto, kSecond}) {
          SCOPED_TRACE(with_bits(bits, one.rest));
          const Result linear =
              quantized(kLinear, one.out, one.in, scheme(with_bits(bits, one.rest)), scales);
          Export run("gptq", params);
          run.add(linear);
          run.finish();
          const Result back = must(run.decode(kLinear));
          EXPECT_EQ(digest(back), digest(linear));
          EXPECT_TRUE(at::equal(decode(back), decode(linear)));
          EXPECT_EQ(must(run.files().dtype(std::string(kLinear) + ".scales")), at::kHalf);
        }
      }
    }
  }
}

TEST(GptqExporter, SmallWordsFillOddSides) {
  for (const auto& [bits, out, in] : {std::tuple(2, 16, 48), std::tuple(4, 8, 24),
                                      std::tuple(4, 40, 72), std::tuple(8, 12, 20)}) {
    const Result linear =
        quantized(kLinear, out, in, scheme(with_bits(bits, R"("granularity": "channel")")));
    Export run("gptq", kAuto);
    run.add(linear);
    run.finish();
    EXPECT_EQ(digest(must(run.decode(kLinear))), digest(linear)) << bits;
  }
}

// Scales that fp16 does not hold stay in bf16.
TEST(GptqExporter, TinyScalesKeepTheirValues) {
  Result linear = quantized(kLinear, 32, 32, scheme(R"({"granularity": "channel"})"));
  linear.set_part("scales", linear.part("scales") * 1e-9);
  Export run("gptq", kAuto);
  run.add(linear);
  run.finish();
  EXPECT_EQ(must(run.files().dtype(std::string(kLinear) + ".scales")), at::kBFloat16);
  EXPECT_EQ(digest(must(run.decode(kLinear))), digest(linear));
}

// docs and golden vectors of the format: codes along the inputs, zero points along the outputs.
TEST(GptqExporter, WritesTheWordsOfTheFormat) {
  Result linear = quantized(kLinear, 8, 16, scheme(R"({"group": 8, "symmetric": false})"));
  const at::Tensor rows =
      at::tensor({0, 1, 2, 3, 4, 5, 6, 7, 3, 14, 1, 5, 9, 2, 6, 15}).sub(8).to(at::kChar);
  linear.set_part("codes", rows.expand({8, 16}).contiguous());
  linear.set_part("zeros", at::arange(1, 9).sub(8).to(at::kChar).unsqueeze(1).repeat({1, 2}));
  Export run("gptq", kAuto);
  run.add(linear);
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(),
              ElementsAre(name + ".g_idx", name + ".qweight", name + ".qzeros", name + ".scales"));
  const at::Tensor packed = must(run.files().read(name + ".qweight"));
  EXPECT_EQ(packed.sizes(), at::IntArrayRef({2, 8}));
  EXPECT_THAT(words(packed.select(1, 3)), ElementsAre(1985229328, -165064221));
  EXPECT_THAT(words(must(run.files().read(name + ".qzeros"))),
              ElementsAre(-2023406815, -2023406815));
  EXPECT_THAT(words(must(run.files().read(name + ".g_idx"))),
              ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_EQ(must(run.files().read(name + ".scales")).sizes(), at::IntArrayRef({2, 8}));
  EXPECT_EQ(*block(run)["checkpoint_format"].text(), "gptq_v2");
  EXPECT_EQ(block(run)["sym"], Value(false));
}

TEST(GptqExporter, WritesTheZeroPointsOfBothFormats) {
  const auto zeros = [](int bits, const Value::Table& params) {
    Export run("gptq", params);
    run.add(quantized(kLinear, 32, 32, scheme(with_bits(bits, R"("granularity": "channel")"))));
    run.finish();
    std::vector<int32_t> found = words(must(run.files().read(std::string(kLinear) + ".qzeros")));
    found.resize(bits == 3 ? 3 : 1);
    return std::vector<uint32_t>(found.begin(), found.end());
  };
  EXPECT_THAT(zeros(2, kAuto), ElementsAre(0x55555555));
  EXPECT_THAT(zeros(3, kAuto), ElementsAre(0xDB6DB6DB, 0xB6DB6DB6, 0x6DB6DB6D));
  EXPECT_THAT(zeros(4, kFirst), ElementsAre(0x77777777));
  EXPECT_THAT(zeros(8, kAuto), ElementsAre(0x7F7F7F7F));
  EXPECT_THAT(zeros(2, kSecond), ElementsAre(0xAAAAAAAA));
  EXPECT_THAT(zeros(3, kSecond), ElementsAre(0x24924924, 0x49249249, 0x92492492));
  EXPECT_THAT(zeros(4, kSecond), ElementsAre(0x88888888));
  EXPECT_THAT(zeros(8, kSecond), ElementsAre(0x80808080));
}

TEST(GptqExporter, DescribesOneSchemeAndWhatIsKept) {
  Export run("gptq", kAuto);
  for (const int i : {0, 1})
    run.add(quantized(layer(i, "mlp.up_proj"), 8, 64, scheme(R"({"group": 32})")));
  run.keep(layer(1, "mlp.down_proj"), at::randn({64, 8}).to(at::kBFloat16));
  run.add_parameter("model.embed_tokens.weight", at::randn({10, 8}));
  run.add_parameter("model.layers.1.mlp.gate.weight", at::randn({4, 8}));
  run.add_parameter("model.norm.weight", at::randn({8}));
  run.finish();
  EXPECT_EQ(to_json(block(run), -1),
            R"({"bits":4,"checkpoint_format":"gptq","desc_act":false,"dynamic":{)"
            R"("-:(.*\\.)?layers\\.\\d+\\.mlp\\.down_proj$":{},)"
            R"("-:(.*\\.)?layers\\.\\d+\\.mlp\\.gate$":{}},)"
            R"("group_size":32,"lm_head":false,"meta":{"quantizer":["swage:1.0.0"]},)"
            R"("pack_dtype":"int32","quant_method":"gptq","scale_dtype":"bfloat16","sym":true})");
  EXPECT_EQ(run.text("quantize_config.json"), to_json(block(run)) + "\n");
  EXPECT_EQ(run.decode(layer(1, "mlp.down_proj")).status().code(), absl::StatusCode::kNotFound);
}

TEST(GptqExporter, NamesEverySchemeByRulesThatEnginesFind) {
  Export run("gptq", kSecond);
  std::vector<Result> linears;
  const auto add = [&](const std::string& name, const std::string& json) {
    linears.push_back(quantized(name, 32, 64, scheme(json)));
    run.add(linears.back());
  };
  for (int i = 0; i < 3; ++i) {
    for (const char* part : {"q_proj", "k_proj", "v_proj"})
      add(layer(i, std::string("self_attn.") + part), R"({"bits": 8, "granularity": "channel"})");
    for (const char* part : {"o_proj", "qkv", "dense"})
      add(layer(i, std::string("self_attn.") + part), R"({"group": 32})");
    add(layer(i, "mlp.up_proj"), i == 1 ? R"({"bits": 3, "group": 64})" : R"({"group": 32})");
    add(layer(i, "mlp.experts.0.w1"), R"({"bits": 2, "group": 32, "symmetric": false})");
    add(layer(i, "mlp.experts.1.w1"), R"({"bits": 2, "group": 32, "symmetric": false})");
  }
  run.finish();
  const Value& dynamic = block(run)["dynamic"];
  std::vector<std::string> rules;
  for (const auto& [rule, says] : *dynamic.table()) rules.push_back(rule);
  EXPECT_THAT(rules, ElementsAre(R"(+:(.*\.)?layers\.1\.mlp\.up_proj$)",
                                 R"(+:(.*\.)?layers\.\d+\.mlp\.experts$)",
                                 R"(+:(.*\.)?layers\.\d+\.mlp\.experts\.\d+\.w1$)",
                                 R"(+:(.*\.)?layers\.\d+\.self_attn\.k_proj$)",
                                 R"(+:(.*\.)?layers\.\d+\.self_attn\.q_proj$)",
                                 R"(+:(.*\.)?layers\.\d+\.self_attn\.qkv_proj$)",
                                 R"(+:(.*\.)?layers\.\d+\.self_attn\.v_proj$)"));
  EXPECT_EQ(to_json(dynamic[rules[5]], -1), R"({"bits":8,"group_size":-1,"sym":true})");
  EXPECT_EQ(to_json(dynamic[rules[1]], -1), R"({"bits":2,"group_size":32,"sym":false})");
  EXPECT_EQ(block(run)["bits"], Value(4));
  for (const Result& linear : linears)
    EXPECT_EQ(digest(must(run.decode(linear.name()))), digest(linear)) << linear.name();
}

std::string refusal(const Value::Table& params, const std::vector<Result>& linears) {
  Export run("gptq", params);
  std::vector<LinearSummary> planned;
  for (const Result& linear : linears) planned.push_back(summary(linear));
  return std::string(run.exporter().check(planned).message());
}

TEST(GptqExporter, RefusesWhatFilesCannotHold) {
  const auto one = [](const std::string& json, int64_t out = 32, int64_t in = 64,
                      at::ScalarType scales = at::kBFloat16) {
    return refusal(kAuto, {quantized(kLinear, out, in, scheme(json), scales)});
  };
  EXPECT_EQ(one(R"({"group": 32})"), "");
  EXPECT_EQ(
      one(R"({"bits": 5, "group": 32})"),
      "model.layers.0.mlp.up_proj: GPTQ's format cannot hold w5 g32 symmetric: it has 2, 3, 4, "
      "8 bits");
  EXPECT_THAT(one(R"({"format": "fp8-e4m3", "granularity": "channel"})"),
              HasSubstr("no place for \"fp8-e4m3\""));
  EXPECT_THAT(one(R"({"granularity": "tensor"})"), HasSubstr("use granularity"));
  EXPECT_THAT(one(R"({"group": 32, "symmetric": false, "zero": "float"})"),
              HasSubstr("use zero = \"int\""));
  EXPECT_THAT(one(R"({"bits": 3, "group": 32})", 40),
              HasSubstr("multiples of 32 inputs and outputs, found 64 and 40; keep this linear"));
  EXPECT_THAT(one(R"({"group": 48, "group_tail": "short"})"),
              HasSubstr("use a group size that divides 64"));
  EXPECT_THAT(one(R"({"group": 32})", 32, 64, at::kFloat), HasSubstr("these are float32; use"));
  EXPECT_THAT(
      refusal(kFirst, {quantized(kLinear, 32, 64, scheme(R"({"group": 32, "symmetric": false})"))}),
      HasSubstr("leaves no place for zero; use \"gptq_v2\""));
  const Result symmetric = quantized(layer(0, "a"), 32, 64, scheme(R"({"group": 32})"));
  const Result other =
      quantized(layer(0, "b"), 32, 64, scheme(R"({"group": 32, "symmetric": false})"));
  EXPECT_EQ(
      refusal(kAuto, {symmetric, other}),
      "model.layers.0.a is symmetric, model.layers.0.b is not, and a checkpoint has one format "
      "of zero points; write checkpoint_format = \"gptq_v2\" into [[export]]");
  EXPECT_EQ(refusal(kSecond, {symmetric, other}), "");
  const Result half = quantized(layer(0, "b"), 32, 64, scheme(R"({"group": 32})"), at::kHalf);
  EXPECT_THAT(refusal(kAuto, {symmetric, half}), HasSubstr("state one scale_dtype"));
  Result with_inputs = quantized(kLinear, 32, 64, scheme(R"({"bits": 8, "group": 32})"));
  with_inputs.set_activation(activation("{}"));
  EXPECT_THAT(refusal(kAuto, {with_inputs}), HasSubstr("use no activation scheme"));
}

TEST(GptqExporter, SaysWhatVllmRefuses) {
  const auto remarks = [](const std::string& json) {
    const RemarkLog log;
    EXPECT_EQ(refusal(kAuto, {quantized(kLinear, 32, 64, scheme(json))}), "");
    return log.texts();
  };
  EXPECT_THAT(remarks(R"({"group": 32})"), IsEmpty());
  EXPECT_THAT(remarks(R"({"bits": 8, "group": 32})"), IsEmpty());
  EXPECT_THAT(remarks(R"({"bits": 3, "group": 32})"), ElementsAre(HasSubstr("vLLM 0.33 loads")));
  EXPECT_THAT(remarks(R"({"group": 32, "symmetric": false})"),
              ElementsAre(HasSubstr("vLLM 0.33 loads")));
}

}  // namespace
}  // namespace swage
