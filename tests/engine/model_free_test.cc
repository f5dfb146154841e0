// Checkpoints without an adapter of their own: linears by the rules of their names.
#include <gmock/gmock.h>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

const char kRtn[] =
    "[[step]]\nuse = \"rtn\"\nweight = { format = \"fp8-e4m3\", granularity = \"tensor\", share = "
    "\"fused\" }\n"
    "[[step.override]]\nmatch = \"*.1.mlp.*\"\nweight = { format = \"int\", bits = 4, group = 32 "
    "}\n";
const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";

std::string model(const std::string& adapter) {
  return "[model]\npath = \"model\"\nadapter = \"" + adapter + "\"\n";
}

using ModelFreeTest = RunTest;

TEST_F(ModelFreeTest, GivesTheWeightsOfTheFamilysOwnAdapter) {
  ASSERT_EQ(run(model("llama") + kRtn + kPacked + "[run]\nwork = \"own\"\n"), absl::OkStatus());
  fs::rename("packed", "own-packed");
  ASSERT_EQ(run(model("none") + kRtn + kPacked + "[run]\nwork = \"none\"\n"), absl::OkStatus());
  EXPECT_EQ(read_text("packed/model.safetensors"), read_text("own-packed/model.safetensors"));
}

TEST_F(ModelFreeTest, TakesModelsThatNoAdapterKnows) {
  const Value config = must(parse_json(read_text("model/config.json"), "config.json"));
  Value::Table other = *config.table();
  other["model_type"] = "brand_new";
  other["architectures"] = Value::List{"BrandNewForCausalLM"};
  std::ofstream("model/config.json") << to_json(Value(std::move(other)));
  EXPECT_THAT(std::string(run(std::string("[model]\npath = \"model\"\n") + kRtn + kPacked +
                              "[run]\nwork = \"work\"\n")
                              .message()),
              HasSubstr("brand_new"));
  ASSERT_EQ(run(model("none") + kRtn + kPacked + "[run]\nwork = \"work\"\n"), absl::OkStatus());
  const auto source = must(io::open_safetensors({"packed/model.safetensors"}));
  EXPECT_TRUE(source->has("model.layers.0.self_attn.q_proj.weight_scale"));
  EXPECT_TRUE(source->has("model.embed_tokens.weight"));
  EXPECT_FALSE(source->has("model.embed_tokens.weight_scale"));
}

TEST_F(ModelFreeTest, RefusesWhatNeedsAForwardPass) {
  const auto message = [&](const std::string& toml) {
    return std::string(run(toml + "[run]\nwork = \"work\"\n").message());
  };
  EXPECT_THAT(message(model("none") + kRtn + perplexity() + kPacked),
              HasSubstr("computes nothing"));
}

}  // namespace
}  // namespace swage::testing_support
