#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

const char kLinear[] = "model.layers.0.mlp.up_proj";
const Value::Table kParams = {{"packing", "auto_gptq"}, {"shard_size", 5000}};
const Value::Table kAwq = {{"packing", "auto_awq"}, {"shard_size", 5000}};

std::string layer(int index, const std::string& linear) {
  return "model.layers." + std::to_string(index) + "." + linear;
}

const Value& block(const Export& run) { return run.config()["quantization_config"]; }

void expect_round_trip(const Value::Table& params, const std::string& json, at::ScalarType scales,
                       const std::string& packing) {
  const Result linear = quantized(kLinear, 64, 96, scheme(json), scales);
  Export run("auto_round", params);
  run.add(linear);
  run.finish();
  const Result back = must(run.decode(kLinear));
  EXPECT_EQ(digest(back), digest(linear));
  EXPECT_TRUE(at::equal(decode(back), decode(linear)));
  EXPECT_EQ(*block(run)["packing_format"].text(), packing);
}

TEST(AutoRoundExporter, FilesDecodeToWhatWasEncoded) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const char* rest : {R"("group": 32)", R"("group": 96)", R"("granularity": "channel")",
                             R"("group": 16, "symmetric": false)",
                             R"("granularity": "channel", "symmetric": false)"}) {
      for (const at::ScalarType scales : {at::kBFloat16, at::kHalf}) {
        const std::string json = absl::StrCat(R"({"bits": )", bits, ", ", rest, "}");
        SCOPED_TRACE(json);
        const bool symmetric = json.find("symmetric") == std::string::npos;
        expect_round_trip(kParams, json, scales, symmetric ? "auto_round:auto_gptq" : "auto_round");
      }
    }
  }
}

TEST(AutoRoundExporter, FilesInAwqsLayoutDecodeToWhatWasEncoded) {
  for (const char* json :
       {R"({"group": 32})", R"({"group": 16, "symmetric": false})", R"({"granularity": "channel"})",
        R"({"granularity": "channel", "symmetric": false})"}) {
    for (const at::ScalarType scales : {at::kBFloat16, at::kHalf}) {
      SCOPED_TRACE(json);
      expect_round_trip(kAwq, json, scales, "auto_round:auto_awq");
    }
  }
}

// Column 5 of the matrix is row 5 of the file; zero points are stored as they are.
TEST(AutoRoundExporter, WritesTheTensorsOfAwq) {
  Export run("auto_round", kAwq);
  const Result linear = quantized(kLinear, 32, 64, scheme(R"({"group": 32, "symmetric": false})"));
  const Result other = quantized(layer(1, "mlp.up_proj"), 32, 64, scheme(R"({"group": 64})"));
  run.add(linear);
  run.add(other);
  run.finish();
  const std::string name = kLinear;
  const at::Tensor words = must(run.files().read(name + ".qweight"));
  const at::Tensor points = must(run.files().read(name + ".qzeros"));
  ASSERT_EQ(words.sizes(), at::IntArrayRef({64, 4}));
  ASSERT_EQ(points.sizes(), at::IntArrayRef({2, 4}));
  const at::Tensor codes = linear.part("codes").select(1, 5).to(at::kInt) + 8;
  const at::Tensor zeros = linear.part("zeros").select(1, 1).to(at::kInt) + 8;
  constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(words[5][1].item<int32_t>() >> (4 * i) & 15, codes[8 + kOrder[i]].item<int>());
    EXPECT_EQ(points[1][3].item<int32_t>() >> (4 * i) & 15, zeros[24 + kOrder[i]].item<int>());
  }
  for (const Result& each : {linear, other})
    EXPECT_EQ(digest(must(run.decode(each.name()))), digest(each)) << "one symmetric, one not";
}

TEST(AutoRoundExporter, WritesTheTensorsOfGptqWithoutGroups) {
  Export run("auto_round", kParams);
  run.add(quantized(kLinear, 32, 64, scheme(R"({"group": 32})")));
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(),
              ElementsAre(name + ".qweight", name + ".qzeros", name + ".scales"));
  const at::Tensor zeros = must(run.files().read(name + ".qzeros"));
  EXPECT_EQ(zeros.sizes(), at::IntArrayRef({2, 4}));
  EXPECT_TRUE(zeros.eq(0x77777777).all().item<bool>());
}

TEST(AutoRoundExporter, NamesWhateverIsNotLikeTheOthers) {
  Export run("auto_round", kParams);
  std::vector<Result> linears;
  const auto add = [&](const std::string& name, const std::string& json) {
    linears.push_back(quantized(name, 32, 64, scheme(json)));
    run.add(linears.back());
  };
  for (const int i : {0, 1}) add(layer(i, "mlp.up_proj"), R"({"group": 32})");
  add(layer(0, "mlp.down_proj"), R"({"bits": 8, "granularity": "channel"})");
  add("lm_head", R"({"group": 32})");
  run.keep(layer(1, "mlp.down_proj"), at::randn({64, 8}).to(at::kBFloat16));
  run.keep("vision.layers.0.fc", at::randn({64, 8}).to(at::kBFloat16));
  run.add_parameter("model.layers.1.mlp.gate.weight", at::randn({4, 8}));
  run.finish();
  EXPECT_EQ(
      to_json(block(run), -1),
      R"({"bits":4,"block_name_to_quantize":"model.layers","data_type":"int","extra_config":{)"
      R"("lm_head":{"bits":4,"group_size":32,"sym":true},)"
      R"("model.layers.0.mlp.down_proj":{"bits":8,"group_size":-1,"sym":true},)"
      R"("model.layers.1.mlp.down_proj":{"bits":16},"model.layers.1.mlp.gate":{"bits":16}},)"
      R"("group_size":32,"packing_format":"auto_round:auto_gptq","quant_method":"auto-round",)"
      R"("swage_scale_dtype":"bfloat16","sym":true})");
  EXPECT_EQ(run.text("quantization_config.json"), to_json(block(run)) + "\n");
  for (const Result& linear : linears)
    EXPECT_EQ(digest(must(run.decode(linear.name()))), digest(linear)) << linear.name();
  EXPECT_EQ(run.decode(layer(1, "mlp.down_proj")).status().code(), absl::StatusCode::kNotFound);
}

std::string refusal(const std::vector<Result>& linears, const Value::Table& params = kParams) {
  Export run("auto_round", params);
  std::vector<LinearSummary> planned;
  for (const Result& linear : linears) planned.push_back(summary(linear));
  return std::string(run.exporter().check(planned).message());
}

TEST(AutoRoundExporter, RefusesWhatFilesCannotHold) {
  EXPECT_EQ(
      refusal({quantized(kLinear, 40, 64, scheme(R"({"group": 32})"))}),
      "model.layers.0.mlp.up_proj: AutoRound's format cannot hold w4 g32 symmetric: AutoRound "
      "reads multiples of 32 inputs and outputs, found 64 and 40; keep this linear");
  EXPECT_THAT(refusal({quantized(kLinear, 32, 64, scheme(R"({"format": "nvfp4"})"))}),
              HasSubstr("no place for \"nvfp4\""));
  const Result symmetric = quantized(layer(0, "a"), 32, 64, scheme(R"({"group": 32})"));
  const Result other =
      quantized(layer(0, "b"), 32, 64, scheme(R"({"group": 32, "symmetric": false})"));
  EXPECT_THAT(refusal({symmetric, other}), HasSubstr("one format of zero points for all"));
  const RemarkLog log;
  EXPECT_EQ(refusal({symmetric, other}, kAwq), "");
  EXPECT_THAT(refusal({quantized(kLinear, 32, 64, scheme(R"({"bits": 8, "group": 32})"))}, kAwq),
              HasSubstr("it has codes of 4 bits alone; use bits = 4"));
  EXPECT_EQ(refusal({symmetric}), "");
  EXPECT_TRUE(log.texts().empty());
  EXPECT_EQ(refusal({other}), "");
  EXPECT_THAT(log.texts(), ElementsAre(HasSubstr("vLLM 0.33 loads AutoRound checkpoints of 4")));
}

class AutoRoundForeign : public testing::Test {
 protected:
  explicit AutoRoundForeign(const char* json = R"({"group": 32})",
                            const Value::Table& params = kParams)
      : linear_(quantized(kLinear, 32, 96, scheme(json), at::kHalf)), run_("auto_round", params) {
    run_.add(linear_);
    run_.finish();
    config_ = *block(run_).table();
  }
  absl::StatusOr<Result> read() {
    return run_.exporter().decode(kLinear, run_.store(),
                                  Value(Value::Table{{"quantization_config", config_}}));
  }
  std::string with(const std::string& key, const std::string& json) {
    const Value::Table before = config_;
    config_[key] = must(parse_json(json, "test"));
    const auto result = read();
    config_ = before;
    return result.ok() ? digest(*result) : std::string(result.status().message());
  }
  Result linear_;
  Export run_;
  Value::Table config_;
};

TEST_F(AutoRoundForeign, ReadsItsSpellings) {
  const std::string whole = digest(linear_);
  for (const char* json :
       {R"({"bits": 4, "group_size": 32, "sym": true, "quant_method": "auto-round"})",
        R"({"bits": 4, "group_size": 32, "sym": true, "quant_method": "intel/auto-round",
            "backend": "auto_round:gptq:exllamav2", "scale_dtype": "torch.float16"})",
        R"({"bits": 4, "group_size": 32, "sym": true, "quant_method": "auto-round", "iters": 0,
            "autoround_version": "0.16.1", "packing_format": "auto_round:auto_gptq",
            "data_type": "int", "act_bits": 16, "enable_quanted_input": false})"}) {
    config_ = *must(parse_json(json, "test")).table();
    EXPECT_EQ(digest(must(read())), whole) << json;
  }
  EXPECT_NE(with("packing_format", "\"auto_round:gptqmodel\""), whole) << "zero points of seven";
  const std::string own = R"({"bits": 4, "group_size": 32})";
  config_["bits"] = 8;
  config_["group_size"] = 128;
  EXPECT_EQ(with("extra_config", R"({"model.layers.0.mlp.up_proj": )" + own + "}"), whole);
  EXPECT_EQ(with("extra_config", R"({".*mlp\\.up.*": )" + own + "}"), whole);
  EXPECT_EQ(with("extra_config", R"({"mlp.up_proj": )" + own + R"(, "down": {"bits": 16}})"),
            whole);
  EXPECT_THAT(with("extra_config", R"({"mlp.up": )" + own + R"(, ".*up_.*": {"bits": 2}})"),
              HasSubstr("several expressions for model.layers.0.mlp.up_proj that differ"));
}

TEST_F(AutoRoundForeign, IsReportedByKeyOfTheConfig) {
  EXPECT_EQ(with("bits", "9"),
            "config.json: quantization_config.bits is 9, expected one of 2, 3, 4, 5, 6, 7, 8");
  EXPECT_THAT(with("bits", "null"), HasSubstr("bits is null"));
  EXPECT_THAT(with("bits", "8"), HasSubstr("qzeros is [3, 4], expected [2, 8]"));
  EXPECT_THAT(with("group_size", "[128, 128]"), HasSubstr("group_size is [128,128]"));
  EXPECT_THAT(with("sym", "\"yes\""), HasSubstr("sym is \"yes\""));
  EXPECT_THAT(with("packing_format", "\"auto_round:fp8\""),
              HasSubstr("packing_format is \"auto_round:fp8\", expected"));
  EXPECT_THAT(
      with("packing_format", "\"auto_round:auto_awq\""),
      HasSubstr("qweight is 12 columns of input, expected a multiple of the group size 32"));
  EXPECT_THAT(with("data_type", "\"mx_fp\""), HasSubstr("data_type is \"mx_fp\""));
  EXPECT_THAT(with("act_bits", "8"), HasSubstr("act_bits is 8, expected 16"));
  EXPECT_THAT(with("rotation_config", R"({"a": 1})"), HasSubstr("rotation_config is"));
  EXPECT_THAT(with("quant_method", "\"awq\""), HasSubstr("quant_method is \"awq\""));
  EXPECT_THAT(with("swage_scale_dtype", "\"bfloat16\""), HasSubstr("scales is of other values"));
  EXPECT_THAT(with("extra_config", "[]"), HasSubstr("extra_config is [], expected a table"));
  EXPECT_THAT(with("extra_config", R"({"model.layers.0.mlp.up_proj": {"bits": 16}})"),
              HasSubstr("bits is 16, expected fewer: there is model.layers.0.mlp.up_proj.qweight"));
  EXPECT_THAT(with("extra_config", R"({"(": {}})"), HasSubstr("is not understood"));
}

class AutoRoundForeignAwq : public AutoRoundForeign {
 protected:
  AutoRoundForeignAwq() : AutoRoundForeign(R"({"group": 32, "symmetric": false})", kAwq) {}
};

// What AutoRound writes under "auto_round" where 4 bits have zero points.
TEST_F(AutoRoundForeignAwq, ReadsItsSpellings) {
  const std::string whole = digest(linear_);
  EXPECT_EQ(with("packing_format", "\"auto_round:awq\""), whole);
  EXPECT_EQ(with("sym", "true"), whole) << "zero points in the file count";
  const std::string own = R"({"bits": 4, "group_size": 32})";
  config_["group_size"] = 128;
  EXPECT_EQ(with("extra_config", R"({"model.layers.0.mlp.up_proj": )" + own + "}"), whole);
  EXPECT_THAT(with("group_size", "128"),
              HasSubstr("qweight is 96 columns of input, expected a multiple of the group size"));
  EXPECT_EQ(with("bits", "5"),
            "config.json: quantization_config gives model.layers.0.mlp.up_proj codes of 5 bits, "
            "expected 4 in auto_round:auto_awq");
}

TEST_F(AutoRoundForeignAwq, EveryValueCounts) {
  const TensorStore stored = run_.store();
  for (const char* part : {"qweight", "qzeros", "scales"}) {
    at::Tensor& tensor = run_.store().tensors[std::string(kLinear) + "." + part];
    tensor = tensor.clone();
    static_cast<uint8_t*>(tensor.mutable_data_ptr())[0] ^= 1;
    EXPECT_NE(digest(must(read())), digest(linear_)) << part;
    run_.store() = stored;
  }
}

TEST_F(AutoRoundForeign, EveryValueCounts) {
  const TensorStore stored = run_.store();
  for (const char* part : {"qweight", "qzeros", "scales"}) {
    at::Tensor& tensor = run_.store().tensors[std::string(kLinear) + "." + part];
    tensor = tensor.clone();
    static_cast<uint8_t*>(tensor.mutable_data_ptr())[0] ^= 1;
    EXPECT_NE(digest(must(read())), digest(linear_)) << part;
    run_.store() = stored;
  }
}

}  // namespace
}  // namespace swage
