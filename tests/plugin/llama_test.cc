#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace swage {
namespace {

using ::testing::HasSubstr;
using testing_support::loader;
using testing_support::must;
using testing_support::Tiny;

std::string refusal(const std::string& json) {
  try {
    return std::string(
        must(loader().model("llama"))->open(must(parse_json(json, "config.json"))).message());
  } catch (const std::invalid_argument&
               error) {  // a key of another type: the host's border turns it into a status
    return error.what();
  }
}

TEST(LlamaTest, KeysThatAreAbsentMeanTheFamilysDefaults) {
  const auto llama = must(loader().model("llama"));
  ASSERT_TRUE(llama->open(must(parse_json(R"({"model_type": "llama"})", "config.json"))).ok());
  EXPECT_EQ(llama->shape().hidden_size, 4096);
  EXPECT_EQ(llama->shape().vocab_size, 32000);
  EXPECT_EQ(llama->shape().context_length, 2048);
  EXPECT_EQ(llama->shape().towers.front().block_count, 32);
  EXPECT_FALSE(llama->shape().tied_embeddings);
  const auto mistral = must(loader().model("llama"));
  ASSERT_TRUE(mistral->open(must(parse_json(R"({"model_type": "mistral"})", "config.json"))).ok());
  EXPECT_EQ(mistral->shape().context_length, 131072);
}

TEST(LlamaTest, RefusesConfigurationsByKey) {
  EXPECT_THAT(refusal(R"({"hidden_act": "sliu"})"),
              HasSubstr("hidden_act \"sliu\" is not supported"));
  EXPECT_THAT(refusal(R"({"num_attention_heads": 6, "num_key_value_heads": 4, "hidden_size": 96})"),
              HasSubstr("num_attention_heads 6 is no multiple of num_key_value_heads 4"));
  EXPECT_THAT(refusal(R"({"hidden_size": 100, "num_attention_heads": 3})"),
              HasSubstr("hidden_size 100 is no multiple of num_attention_heads 3"));
  EXPECT_THAT(refusal(R"({"hidden_size": -64})"),
              HasSubstr("hidden_size is -64, expected a positive number"));
  EXPECT_THAT(refusal(R"({"num_attention_heads": 0})"), HasSubstr("num_attention_heads is 0"));
  EXPECT_THAT(refusal(R"({"hidden_size": "big"})"), HasSubstr("\"hidden_size\" is a string"));
  EXPECT_THAT(refusal(R"({"rope_scaling": {"rope_type": "spiral", "factor": 2}})"),
              HasSubstr("rope_type \"spiral\" is not supported"));
  EXPECT_THAT(refusal(R"({"quantization_config": {"quant_method": "fp8"}})"),
              HasSubstr("already quantized"));
}

TEST(LlamaTest, RefusesABlockThatIsNotThere) {
  const Tiny tiny("llama");
  for (const BlockId& id :
       {BlockId{"language", 2}, BlockId{"language", -1}, BlockId{"vision", 0}}) {
    EXPECT_THAT(std::string(tiny.adapter->load_block(id, *tiny.weights, {}).status().message()),
                HasSubstr("the model has language 0 to 1"));
  }
}

}  // namespace
}  // namespace swage
