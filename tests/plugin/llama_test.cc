#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "plugin_support.h"

namespace swage {
namespace {

using ::testing::HasSubstr;
using testing_support::loader;
using testing_support::must;

Value config_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  return must(parse_json(text.str(), file.string()));
}

std::unique_ptr<WeightSource> tensors_of(const std::filesystem::path& file) {
  return must(io::open_safetensors({file.string()}));
}

std::string refusal(const std::string& json) {
  try {
    return std::string(
        must(loader().model("llama"))->open(must(parse_json(json, "config.json"))).message());
  } catch (const std::invalid_argument&
               error) {  // a key of another type: the host's border turns it into a status
    return error.what();
  }
}

// A fixture and its adapter.
struct Tiny {
  explicit Tiny(const std::string& name, const std::string& config = "config.json")
      : folder(testing_support::test_data() / "parity" / name),
        adapter(must(loader().model("llama"))),
        weights(tensors_of(folder / "model.safetensors")) {
    const absl::Status status = adapter->open(config_of(folder / config));
    if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  }

  // hidden_0 … hidden_L (the last after the final norm) and logits of sequences laid end to end.
  std::vector<at::Tensor> run(const at::Tensor& ids, const std::vector<int64_t>& lengths,
                              at::ScalarType compute) const {
    LoadOptions options;
    options.compute = compute;
    Slots slots;
    slots.lengths = lengths;
    std::vector<at::Tensor> positions;
    for (int64_t length : lengths) positions.push_back(at::arange(length, at::kLong));
    slots.positions = at::cat(positions);
    if (!must(adapter->load_embedding(*weights, options))->embed(ids, slots).ok())
      throw std::runtime_error("embed");
    std::vector<at::Tensor> states = {slots.at(kHidden).clone()};
    for (int64_t i = 0; i < adapter->shape().towers.front().block_count; ++i) {
      must(adapter->load_block({"language", i}, *weights, options))->forward(slots);
      states.push_back(slots.at(kHidden).clone());
    }
    const auto head = must(adapter->load_head(*weights, options));
    states.back() = head->normalize(states.back());
    states.push_back(head->logits(states.back()));
    return states;
  }

  std::filesystem::path folder;
  std::shared_ptr<ModelAdapter> adapter;
  std::unique_ptr<WeightSource> weights;
};

class LlamaParityTest : public ::testing::TestWithParam<const char*> {};

TEST_P(LlamaParityTest, HiddenStatesAndLogitsAgreeWithTransformers) {
  // config_min.json is what the hub holds, config.json what transformers makes of it: both must
  // mean the same.
  for (const char* config : {"config.json", "config_min.json"}) {
    const Tiny tiny(GetParam(), config);
    const auto reference = tensors_of(tiny.folder / "io.safetensors");
    const at::Tensor ids = must(reference->read("input_ids")).flatten();
    const std::vector<at::Tensor> states = tiny.run(ids, {ids.size(0)}, at::kFloat);
    for (size_t i = 0; i < states.size(); ++i) {
      const std::string name = i + 1 < states.size() ? absl::StrCat("hidden_", i) : "logits";
      const at::Tensor expected = must(reference->read(name)).squeeze(0);
      EXPECT_LE((states[i] - expected).abs().max().item<double>(), 2e-5)
          << name << " with " << config;
    }
  }
}

TEST_P(LlamaParityTest, BytesDoNotDependOnTheMicroBatchOrTheThreads) {
  const Tiny tiny(GetParam());
  constexpr int64_t kLength = 20, kCount = 4;
  const at::Tensor ids = at::arange(kLength * kCount, at::kLong) * 37 % 256;
  at::set_num_threads(1);
  const std::vector<at::Tensor> whole =
      tiny.run(ids, std::vector<int64_t>(kCount, kLength), at::kFloat);
  for (int threads : {1, 2}) {
    at::set_num_threads(threads);
    for (int64_t batch : {1, 2, 4}) {
      for (int64_t first = 0; first < kCount; first += batch) {
        const int64_t begin = first * kLength, end = (first + batch) * kLength;
        const auto part =
            tiny.run(ids.slice(0, begin, end),
                     std::vector<int64_t>(static_cast<size_t>(batch), kLength), at::kFloat);
        for (size_t i = 0; i < part.size(); ++i) {
          EXPECT_TRUE(part[i].equal(whole[i].slice(0, begin, end)))
              << batch << " sequences, " << threads << " threads";
        }
      }
    }
  }
}

TEST_P(LlamaParityTest, DoublePrecisionStaysClose) {
  const Tiny tiny(GetParam());
  const at::Tensor ids = at::arange(24, at::kLong) * 11 % 256;
  const at::Tensor wide = tiny.run(ids, {24}, at::kDouble).back(),
                   narrow = tiny.run(ids, {24}, at::kFloat).back();
  EXPECT_EQ(wide.scalar_type(), at::kDouble);
  const double worst = (wide - narrow).abs().max().item<double>();
  EXPECT_GT(worst, 0.0);
  EXPECT_LT(worst, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, LlamaParityTest,
                         ::testing::Values("llama", "llama31", "llama_linear", "llama_yarn",
                                           "mistral_sw"));

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
