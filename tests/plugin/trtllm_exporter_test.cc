#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"
#include "swage/folder_reader.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace fs = std::filesystem;

constexpr int64_t kHidden = 32, kWide = 48, kHeads = 4, kKvHeads = 2, kHeadSize = 8, kWords = 20;
const char kAttention[] = "model.layers.0.self_attn.", kMlp[] = "model.layers.0.mlp.";

struct Kind {
  std::string weight, activation, algorithm;
  at::ScalarType scales;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {R"({"format": "fp8-e4m3", "granularity": "tensor", "share": "fused"})",
       R"({"format": "fp8-e4m3", "granularity": "tensor", "dynamic": false})", "FP8", at::kFloat},
      {R"({"group": 8})", "", "W4A16_AWQ", at::kHalf},
      {R"({"bits": 8, "granularity": "channel"})", R"({"bits": 8})",
       "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN", at::kFloat}};
  return all;
}

Value source_config(bool tied) {
  return Value(Value::Table{{"model_type", "llama"},
                            {"hidden_size", kHidden},
                            {"intermediate_size", kWide},
                            {"num_hidden_layers", 1},
                            {"num_attention_heads", kHeads},
                            {"num_key_value_heads", kKvHeads},
                            {"head_dim", kHeadSize},
                            {"vocab_size", kWords},
                            {"rms_norm_eps", 1e-5},
                            {"rope_theta", 5000.0},
                            {"tie_word_embeddings", tied}});
}

class TrtLlm : public ::testing::Test {
 protected:
  // A whole model of one block.
  void make(const Kind& kind, int64_t ranks, bool tied = false) {
    run_ = std::make_unique<Export>("trtllm", Value::Table{{"ranks", ranks}});
    linears_.clear();
    parameters_.clear();
    const auto add = [&](const std::string& name, int64_t out, int64_t in) {
      Result linear = quantized(name, out, in, scheme(kind.weight), kind.scales);
      // As a step that shares has it for q, k and v.
      if (kind.algorithm == "FP8") linear.set_part("scales", at::tensor({0.01f}).view({1, 1}));
      if (!kind.activation.empty()) linear.set_activation(activation(kind.activation));
      run_->add(linear);
      linears_.push_back(linear);
    };
    const std::string attention = kAttention, mlp = kMlp;
    add(attention + "q_proj", kHeads * kHeadSize, kHidden);
    add(attention + "k_proj", kKvHeads * kHeadSize, kHidden);
    add(attention + "v_proj", kKvHeads * kHeadSize, kHidden);
    add(attention + "o_proj", kHidden, kHeads * kHeadSize);
    add(mlp + "gate_proj", kWide, kHidden);
    add(mlp + "up_proj", kWide, kHidden);
    add(mlp + "down_proj", kHidden, kWide);
    parameter("model.embed_tokens.weight", at::randn({kWords, kHidden}));
    parameter("model.norm.weight", at::randn({kHidden}));
    parameter("model.layers.0.input_layernorm.weight", at::randn({kHidden}));
    parameter("model.layers.0.post_attention_layernorm.weight", at::randn({kHidden}));
    parameter(attention + "k_proj.bias", at::randn({kKvHeads * kHeadSize}));
    parameter(attention + "q_proj.bias", at::randn({kHeads * kHeadSize}));
    parameter(attention + "v_proj.bias", at::randn({kKvHeads * kHeadSize}));
    if (!tied) parameter("lm_head.weight", at::randn({kWords, kHidden}));
    source_ = source_config(tied);
    run_->write(source_);
  }
  void parameter(const std::string& name, const at::Tensor& value) {
    const at::Tensor stored = value.to(at::kHalf);
    run_->add_parameter(name, stored);
    parameters_[name] = stored;
  }

  absl::StatusOr<std::unique_ptr<io::Checkpoint>> open() {
    const auto* const reader =
        static_cast<const FolderReader*>(run_->exporter().query(kFolderReader));
    return reader->open_folder(run_->directory());
  }
  std::unique_ptr<WeightSource> rank(int64_t index) {
    return must(
        io::open_safetensors({absl::StrCat(run_->directory(), "/rank", index, ".safetensors")}));
  }
  void expect_damaged(const std::string& what) {
    EXPECT_THAT(std::string(open().status().message()), HasSubstr(what));
  }
  void change_config(const std::string& key, const Value& value,
                     const std::string& file = "config.json") {
    Value config = must(parse_json(run_->text(file), file));
    (*config.table())[key] = value;
    std::ofstream(run_->directory() + "/" + file) << to_json(config);
  }
  // A tensor of a rank's file, as a function of what it was.
  void change(int64_t index, const std::string& name,
              const std::function<at::Tensor(const at::Tensor&)>& other) {
    const auto source = rank(index);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const std::string& one : source->names()) {
      at::Tensor tensor = must(source->read(one));
      if (one == name) tensor = other(tensor);
      if (tensor.defined()) tensors.emplace_back(one, tensor);
    }
    ASSERT_TRUE(io::write_safetensors(
                    absl::StrCat(run_->directory(), "/rank", index, ".safetensors"), tensors)
                    .ok());
  }

  std::unique_ptr<Export> run_;
  std::vector<Result> linears_;
  std::map<std::string, at::Tensor> parameters_;
  Value source_;
};

class TrtLlmRanks : public TrtLlm, public ::testing::WithParamInterface<int> {};

TEST_P(TrtLlmRanks, FoldersDecodeToWhatWasEncoded) {
  for (const Kind& kind : kinds()) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(kind.algorithm);
      make(kind, GetParam(), tied);
      const auto folder = must(open());
      for (const Result& linear : linears_) {
        const Result back =
            must(run_->exporter().decode(linear.name(), folder->weights(), folder->config()));
        EXPECT_EQ(digest(back), digest(linear)) << linear.name();
        EXPECT_EQ(back.activation().has_value(), linear.activation().has_value());
      }
      for (const auto& [name, value] : parameters_) {
        EXPECT_TRUE(at::equal(must(folder->weights().read(name)), value)) << name;
        EXPECT_EQ(must(folder->weights().shape(name)), value.sizes().vec()) << name;
      }
      EXPECT_FALSE(tied && folder->weights().has("lm_head.weight"));
      for (const auto& [key, value] : *source_.table()) EXPECT_EQ(folder->config()[key], value);
      EXPECT_TRUE(rank(0)->has("lm_head.weight"));
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, TrtLlmRanks, ::testing::Values(1, 2));

TEST_F(TrtLlm, NamesTensorsAsTensorRtLlmDoes) {
  make(kinds()[1], 2);
  const auto first = rank(0), second = rank(1);
  const std::string layer = "transformer.layers.0.";
  EXPECT_EQ(must(first->shape(layer + "attention.qkv.weight")),
            (std::vector<int64_t>{(kHeads + 2 * kKvHeads) * kHeadSize / 4, kHidden}));
  EXPECT_EQ(must(first->dtype(layer + "attention.qkv.weight")), at::kChar);
  EXPECT_EQ(must(first->shape(layer + "attention.qkv.weights_scaling_factor")),
            (std::vector<int64_t>{(kHeads + 2 * kKvHeads) * kHeadSize / 2, kHidden / 8}));
  EXPECT_EQ(must(first->shape(layer + "attention.dense.weight")),
            (std::vector<int64_t>{kHidden / 2, kHeads * kHeadSize / 2}));
  EXPECT_EQ(must(first->shape(layer + "mlp.proj.prequant_scaling_factor")),
            (std::vector<int64_t>{kWide / 2}));
  // The gate is `fc`; a rank has its share of q, then of k, then of v.
  const auto whole = [&](const std::string& name) { return must(run_->tensors().read(name)); };
  EXPECT_TRUE(at::equal(must(second->read(layer + "mlp.fc.weight")),
                        whole(std::string(kMlp) + "gate_proj.weight").chunk(2)[1]));
  const at::Tensor bias = must(second->read(layer + "attention.qkv.bias"));
  const int64_t q = kHeads * kHeadSize / 2;
  EXPECT_TRUE(at::equal(bias.narrow(0, 0, q),
                        parameters_[std::string(kAttention) + "q_proj.bias"].narrow(0, q, q)));
  EXPECT_TRUE(
      at::equal(bias.narrow(0, q, q / 2),
                parameters_[std::string(kAttention) + "k_proj.bias"].narrow(0, q / 2, q / 2)));
  EXPECT_TRUE(
      at::equal(must(second->read("lm_head.weight")), parameters_["lm_head.weight"].chunk(2)[1]));
  EXPECT_EQ(must(second->shape("transformer.vocab_embedding.weight")),
            (std::vector<int64_t>{kWords, kHidden}));
  EXPECT_FALSE(fs::exists(run_->directory() + "/rank1"));
  EXPECT_FALSE(fs::exists(run_->directory() + "/model.safetensors"));
}

TEST_F(TrtLlm, WritesTheConfigThatItsBuilderReads) {
  make(kinds()[1], 2);
  const Value config = must(parse_json(run_->text("config.json"), "config.json"));
  EXPECT_EQ(config.str("architecture", ""), "LlamaForCausalLM");
  EXPECT_EQ(config.str("dtype", ""), "float16");
  EXPECT_EQ(config.f64("rotary_base", 0), 5000.0);
  EXPECT_EQ(config["mapping"],
            Value(Value::Table{{"world_size", 2}, {"tp_size", 2}, {"pp_size", 1}}));
  const Value expected = Value::Table{{"quant_algo", "W4A16_AWQ"},
                                      {"kv_cache_quant_algo", Value()},
                                      {"exclude_modules", Value::List{"lm_head"}},
                                      {"group_size", 8},
                                      {"has_zero_point", false},
                                      {"pre_quant_scale", true}};
  EXPECT_EQ(config["quantization"], expected);
  EXPECT_FALSE(config.has("rotary_scaling"));
}

// Rows of -8, 7 and -1, 3 are the bytes 78 and 3F.
TEST_F(TrtLlm, PacksTwoRowsOfIntegersIntoOne) {
  Result linear =
      quantized(std::string(kMlp) + "up_proj", 2, 2, scheme(R"({"group": 2})"), at::kHalf);
  linear.set_part("codes", at::tensor({-8, -1, 7, 3}).to(at::kChar).view({2, 2}));
  Export run("trtllm", Value::Table{{"ranks", 1}});
  run.add(linear);
  const at::Tensor bytes =
      must(run.tensors().read(std::string(kMlp) + "up_proj.weight")).view(at::kByte);
  EXPECT_EQ(bytes[0][0].item<int>(), 0x78);
  EXPECT_EQ(bytes[0][1].item<int>(), 0x3F);
}

TEST_F(TrtLlm, NoticesFilesThatDoNotFit) {
  const std::string qkv = "transformer.layers.0.attention.qkv.weight";
  const auto none = [](const at::Tensor&) { return at::Tensor(); };
  make(kinds()[0], 2);
  change(1, "transformer.ln_f.weight", none);
  expect_damaged("rank1.safetensors holds other tensors");
  make(kinds()[0], 2);
  change(1, "transformer.ln_f.weight", [](const at::Tensor& x) { return x + 1; });
  EXPECT_THAT(std::string(must(open())->weights().read("model.norm.weight").status().message()),
              HasSubstr("two values on two ranks"));
  change(1, qkv, [](const at::Tensor& x) { return x.narrow(0, 0, 5).contiguous(); });
  EXPECT_THAT(std::string(must(open())
                              ->weights()
                              .read(std::string(kAttention) + "k_proj.weight")
                              .status()
                              .message()),
              HasSubstr("no share of each matrix"));
  make(kinds()[0], 1, true);
  change(0, "lm_head.weight", [](const at::Tensor& x) { return x * 2; });
  expect_damaged("no copy of transformer.vocab_embedding.weight");
  make(kinds()[0], 1);
  change_config("hidden_size", 64);
  expect_damaged("hidden_size is 64, expected 32");
  make(kinds()[0], 1);
  change_config("mapping", Value::Table{{"tp_size", 0}});
  expect_damaged("no number of ranks");
  make(kinds()[0], 1);
  change_config("model_type", "gpt2", "source_config.json");
  expect_damaged("model_type \"gpt2\"");
  make(kinds()[0], 2);
  fs::remove(run_->directory() + "/rank1.safetensors");
  EXPECT_FALSE(open().ok());
}

TEST_F(TrtLlm, EveryTensorOfALinearCounts) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.algorithm);
    make(kind, 1);
    const std::string linear = std::string(kMlp) + "down_proj",
                      module = "transformer.layers.0.mlp.proj";
    for (const std::string& name : rank(0)->names()) {
      if (name.compare(0, module.size(), module) != 0) continue;
      make(kind, 1);
      change(0, name, [](const at::Tensor& x) {
        at::Tensor other = x.clone();
        other.view(at::kByte).flatten().narrow(0, 1, 1).bitwise_xor_(4);
        return other;
      });
      const auto folder = must(open());
      const auto back = run_->exporter().decode(linear, folder->weights(), folder->config());
      EXPECT_TRUE(!back.ok() || digest(*back) != digest(linears_.back())) << name;
    }
  }
}

TEST_F(TrtLlm, RefusesWhatItHasNoPlaceFor) {
  const std::string up = std::string(kMlp) + "up_proj";
  const auto planned = [](const std::string& name, const Kind& kind, int64_t out = 32) {
    LinearSummary linear;
    linear.name = name;
    linear.weight = scheme(kind.weight);
    linear.out = out;
    linear.in = 32;
    linear.scale_dtype = kind.scales;
    if (!kind.activation.empty()) linear.activation = activation(kind.activation).codec;
    return linear;
  };
  const auto said = [](const std::vector<LinearSummary>& linears, int64_t ranks = 1) {
    Export run("trtllm", Value::Table{{"ranks", ranks}});
    return std::string(run.exporter().check(linears).message());
  };
  const Kind &fp8 = kinds()[0], &int4 = kinds()[1], &int8 = kinds()[2];
  for (const Kind& kind : kinds()) EXPECT_EQ(said({planned(up, kind)}), "");
  EXPECT_THAT(said({planned("model.layers.0.mlp.experts.0.up_proj", fp8)}),
              HasSubstr("of a Llama"));
  for (const auto& [weight, input, why] : std::vector<std::array<std::string, 3>>{
           {R"({"format": "nvfp4"})", "", "no place for \"nvfp4\""},
           {fp8.weight, "", "dynamic = false"},
           {fp8.weight, R"({"format": "fp8-e4m3"})", "dynamic = false"},
           {R"({"format": "fp8-e4m3"})", fp8.activation, "granularity = \"tensor\""},
           {R"({"group": 8, "symmetric": false})", "", "symmetric = true"},
           {R"({"group": 8})", "{}", "4 bits in groups"},
           {int8.weight, "", "activation = { bits = 8 }"},
           {int8.weight, R"({"granularity": "tensor"})", "activation = { bits = 8 }"}}) {
    SCOPED_TRACE(weight + " " + input);
    EXPECT_THAT(said({planned(up, {weight, input, "", at::kFloat})}), HasSubstr(why));
  }
  EXPECT_THAT(said({planned(up, {int4.weight, "", "", at::kBFloat16})}),
              HasSubstr("scale_dtype = \"fp16\""));
  EXPECT_THAT(said({planned(up, int8, 33)}, 2), HasSubstr("33 rows"));
  EXPECT_THAT(said({planned(up, int4)}, 8),
              HasSubstr("32 columns in units of 8 do not divide by 8 ranks"));
  EXPECT_THAT(said({planned(up, int8), kept(std::string(kMlp) + "down_proj", 32, 32)}),
              HasSubstr("compress both"));
  EXPECT_THAT(said({planned(up, int8), planned(std::string(kMlp) + "down_proj", int4)}),
              HasSubstr("give both the same"));
}

TEST_F(TrtLlm, RefusesOtherFamiliesAndHeadsThatDoNotDivide) {
  const auto refused = [&](const Value& config, int64_t ranks) -> std::string {
    Export run("trtllm", Value::Table{{"ranks", ranks}});
    run.add_parameter("model.norm.weight", at::randn({kHidden}).to(at::kHalf));
    try {
      run.write(config);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  Value other = source_config(false);
  EXPECT_EQ(refused(other, 1), "");
  EXPECT_THAT(refused(other, 4), HasSubstr("does not divide 2 heads of keys"));
  (*other.table())["model_type"] = "qwen3";
  EXPECT_THAT(refused(other, 1), HasSubstr("use = \"modelopt\""));
}

}  // namespace
}  // namespace swage
