// `serve`: what an engine would refuse of a plan is refused before any work.
#include <gmock/gmock.h>

#include "core/engine/served_export.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Value::Table int8_rows() { return {{"bits", 8}, {"granularity", "channel"}}; }

LinearSummary summary(Scheme weight) {
  LinearSummary linear;
  linear.name = "model.layers.0.mlp.up_proj";
  linear.out = 512;
  linear.in = 256;
  linear.weight = must(make_codec(weight));
  linear.scale_dtype = at::kBFloat16;
  return linear;
}

TEST(ServedLinear, KnowsWhatNoCutMayGoThrough) {
  ServedLinear served = served_linear(summary({"int", {{"bits", 4}, {"group", 64}}}));
  EXPECT_FALSE(served.kept);
  EXPECT_EQ(served.columns_together, 64);
  EXPECT_EQ(served.rows_together, 1);
  EXPECT_EQ(served.scale_type, "bf16");
  EXPECT_EQ(served.text, "w4 g64 symmetric");
  EXPECT_EQ(served_linear(summary({"int", int8_rows()})).columns_together, 1);
  EXPECT_EQ(served_linear(summary({"nvfp4", {}})).columns_together, 16);
  EXPECT_EQ(served_linear(summary({"mxfp4", {}})).columns_together, 32);
  EXPECT_EQ(served_linear(summary({"q4_k", {}})).columns_together, 256);
  served = served_linear(summary(
      {"fp8-e4m3", {{"granularity", "block"}, {"block_rows", 128}, {"block_columns", 64}}}));
  EXPECT_EQ(served.rows_together, 128);
  EXPECT_EQ(served.columns_together, 64);
}

TEST(ServedLinear, HasTheFormOfItsInputsToo) {
  LinearSummary linear = summary({"int", int8_rows()});
  const ServedLinear plain = served_linear(linear);
  linear.activation = must(make_codec({"int", {{"bits", 8}}}));
  const ServedLinear quantized = served_linear(linear);
  EXPECT_NE(plain.form, quantized.form);
  EXPECT_TRUE(quantized.activation.has_value());
  linear.kept_by = "some rule";
  EXPECT_TRUE(served_linear(linear).kept);
  linear.place = LinearPlace::kHead;
  EXPECT_TRUE(served_linear(linear).is_head);
}

TEST(ServedModel, CountsHeads) {
  const auto heads = [](const char* config) {
    const ServedModel model = served_model({}, must(parse_json(config, "config")));
    return std::pair(model.heads, model.kv_heads);
  };
  EXPECT_EQ(heads(R"({"num_attention_heads": 8, "num_key_value_heads": 2})"), std::pair(8l, 2l));
  EXPECT_EQ(heads(R"({"num_attention_heads": 8})"), std::pair(8l, 8l));
  EXPECT_EQ(heads(R"({"n_head": 8, "multi_query": true})"), std::pair(8l, 1l));
  EXPECT_EQ(heads("{}"), std::pair(0l, 0l));
}

class ServeTest : public CommandTest {
 protected:
  Answer check(const std::string& scheme, const std::string& keys, const char* verb = "check") {
    std::ofstream("p.toml") << pipeline(
        "[[step]]\nuse = \"rtn\"\n" + scheme +
        "[[export]]\nuse = \"compressed-tensors\"\npath = \"out\"\n" + keys);
    return swage({verb, "p.toml"});
  }
};

TEST_F(ServeTest, RefusesWhatTheEngineWould) {
  const std::string engine = "serve = \"vllm-0.33\"\n";
  const std::string rows =
      "weight = { format = \"fp8-e4m3\" }\nactivation = { format = \"fp8-e4m3\" }\n";
  EXPECT_EQ(check(rows, engine + "device = \"sm90\"\ntensor_parallel = 2\n").code, 0);
  const std::string tensor =
      "weight = { bits = 4, granularity = \"tensor\", scale_dtype = \"bf16\" }\n";
  EXPECT_EQ(check(tensor, "").code, 0);
  for (const char* verb : {"check", "run"}) {
    const Answer answer = check(tensor, engine, verb);
    EXPECT_EQ(answer.code, 3);
    EXPECT_THAT(answer.err, AllOf(HasSubstr("p.toml:"),
                                  HasSubstr("export \"compressed-tensors\" for vLLM 0.33: "
                                            "model.layers.0.mlp.down_proj (and 13 more)"),
                                  HasSubstr("write weight = { granularity = \"channel\" }")));
    EXPECT_FALSE(fs::exists("runs"));
  }
  EXPECT_THAT(check(rows, engine + "tensor_parallel = 3\n").err, HasSubstr("the 4 heads"));
  EXPECT_THAT(check(rows, engine + "device = \"sm80\"\n").err, HasSubstr("sm89+"));
  EXPECT_THAT(check("weight = { bits = 4, group = 32, scale_dtype = \"bf16\" }\n",
                    engine + "tensor_parallel = 2\n")
                  .err,
              AllOf(HasSubstr("down_proj (and 1 more) has 48 inputs"), HasSubstr("groups of 32")));
}

}  // namespace
}  // namespace swage::testing_support
