// What becomes of every tensor of a checkpoint: none is lost without a word, and what is missing or
// has another shape is known before any weight is read.
#include "core/engine/ledger.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/opened_model.h"
#include "core/load/adapter.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Tensors = std::map<std::string, at::Tensor>;

const char kRtn[] = "[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 8 }\n";
const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";

class LedgerTest : public RunTest {
 protected:
  // The fixture in place of the model in "model".
  void take(const std::string& fixture) {
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(test_data() / "parity" / fixture / file, fs::path("model") / file,
                    fs::copy_options::overwrite_existing);
  }
  static Tensors read(const std::string& folder) {
    const auto source = must(io::open_safetensors({folder + "/model.safetensors"}));
    Tensors tensors;
    for (const std::string& name : source->names()) tensors[name] = must(source->read(name));
    return tensors;
  }
  static void write(const Tensors& tensors) {
    ASSERT_OK(io::write_safetensors("model/model.safetensors", {tensors.begin(), tensors.end()}));
  }
  static void add(const std::string& name, const at::Tensor& tensor) {
    Tensors tensors = read("model");
    tensors[name] = tensor;
    write(tensors);
  }
  static Value config(const std::string& folder = "model") {
    return must(parse_json(read_text(folder + "/config.json"), "config.json"));
  }
  static void set(const std::string& key, Value value) {
    Value changed = config();
    (*changed.table())[key] = std::move(value);
    std::ofstream("model/config.json") << to_json(changed);
  }
  static absl::Status check(const std::string& folder = "model") {
    const auto model = OpenedModel::open(folder, built_plugins(), loader(), LoadOptions(),
                                         OpenedModel::Compare::kSampled);
    return model.ok() ? model->check_floats() : model.status();
  }
  static void expect_refused(const std::vector<std::string>& words) {
    const absl::Status status = check();
    EXPECT_EQ(exit_code(status), 4) << status;
    for (const std::string& word : words)
      EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
  absl::Status compress() { return run(pipeline(std::string(kRtn) + kPacked)); }
};

TEST_F(LedgerTest, EverySmallModelIsHeldWhole) {
  for (const auto& entry : fs::directory_iterator(test_data() / "parity")) {
    if (!entry.is_directory()) continue;
    EXPECT_OK(check(entry.path().string()));
  }
}

TEST_F(LedgerTest, ABiasWithoutItsFlagIsRefused) {
  const Tensors whole = read("model");
  for (const auto& [name, tensor] : whole) {
    if (!absl::EndsWith(name, "_proj.weight")) continue;
    const std::string bias = name.substr(0, name.size() - 6) + "bias";
    add(bias, at::ones({tensor.size(0)}));
    expect_refused({"1 tensor would be lost", bias, "without a bias"});
    write(whole);
  }
  add("model.layers.1.self_attn.q_proj.bias", at::ones({0}));
  expect_refused({"model.layers.1.self_attn.q_proj.bias"});
  EXPECT_EQ(exit_code(compress()), 4);
  EXPECT_FALSE(fs::exists("runs"));
}

TEST_F(LedgerTest, BlocksBeyondTheirNumberAreRefused) {
  set("num_hidden_layers", int64_t{1});
  expect_refused({"model.layers.1.mlp.up_proj.weight", "lies behind model.layers.0"});
  set("num_hidden_layers", int64_t{3});
  expect_refused({"block 2", "there is no tensor \"model.layers.2."});
  set("num_hidden_layers", int64_t{1000000000});
  expect_refused({"num_hidden_layers is 1000000000"});
}

TEST_F(LedgerTest, ExpertsBeyondTheirNumberAreRefused) {
  take("mixtral");
  const Tensors whole = read("model");
  const std::string experts = "model.layers.1.block_sparse_moe.experts.";
  for (const char* matrix : {"w1", "w2", "w3"})
    add(experts + "4." + matrix + ".weight", whole.at(experts + "3." + matrix + ".weight"));
  expect_refused({"3 tensors would be lost", experts + "4.w1.weight",
                  "lies behind model.layers.1.block_sparse_moe.experts.3"});
}

TEST_F(LedgerTest, WhatOnlyASisterFamilyReadsIsRefused) {
  take("qwen2");
  const int64_t heads = config().i64("num_attention_heads", 1);
  const std::string norm = "model.layers.0.self_attn.q_norm.weight";
  add(norm, at::ones({config().i64("hidden_size", 1) / heads}));
  expect_refused({norm});
  take("deepseek_v2");
  const std::string bias = "model.layers.1.mlp.gate.e_score_correction_bias";
  add(bias, at::ones({config().i64("n_routed_experts", 1)}));
  expect_refused({bias});
}

TEST_F(LedgerTest, EveryMissingOrMisshapenTensorIsNamed) {
  for (const char* fixture : {"llama", "deepseek_v3", "qwen2_5_vl", "bloom"}) {
    take(fixture);
    const Tensors whole = read("model");
    for (const auto& [name, tensor] : whole) {
      if (name == "lm_head.weight" && fixture == std::string("qwen2_5_vl")) continue;  // tied else
      Tensors changed = whole;
      changed.erase(name);
      write(changed);
      expect_refused({name});
      if (tensor.dim() == 0) continue;
      changed[name] = at::ones({tensor.size(0) + 1}).to(tensor.scalar_type());
      write(changed);
      expect_refused({name});
    }
  }
}

TEST_F(LedgerTest, AllPartsThatCannotBeLoadedAreNamedAtOnce) {
  Tensors tensors = read("model");
  tensors.erase("lm_head.weight");
  tensors.erase("model.layers.0.mlp.up_proj.weight");
  tensors["model.norm.weight"] = at::ones({7});
  write(tensors);
  expect_refused({"model.layers.0.mlp.up_proj.weight", "model.norm.weight has shape [7]"});
}

TEST_F(LedgerTest, AllFaultsOfABlockAreNamedAtOnce) {
  Tensors tensors = read("model");
  const std::string block = "model.layers.0.";
  for (const char* gone : {"self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"})
    tensors.erase(block + gone + ".weight");
  tensors[block + "input_layernorm.weight"] = at::ones({7});
  tensors[block + "mlp.gate_proj.weight"] = at::ones({3, 5});
  tensors[block + "mlp.extra_proj.weight"] = at::ones({3, 5});
  write(tensors);
  expect_refused({"there is no tensor \"model.layers.0.self_attn.q_proj.weight\"",
                  "there is no tensor \"model.layers.0.self_attn.o_proj.weight\"",
                  "there is no tensor \"model.layers.0.mlp.down_proj.weight\"",
                  "model.layers.0.input_layernorm.weight has shape [7], config.json asks for [64]",
                  "model.layers.0.mlp.gate_proj.weight has shape [3, 5]", "1 tensor would be lost",
                  "model.layers.0.mlp.extra_proj.weight"});
}

// LLaVA's language model has names that its adapter does not know.
TEST_F(LedgerTest, FaultsAreNamedAsTheCheckpointSpellsThem) {
  take("llava");
  Tensors tensors = read("model");
  std::vector<std::string> gone;
  for (const auto& [name, tensor] : read("model")) {
    if (!absl::StrContains(name, "language_model") || !absl::StrContains(name, "layers.0.mlp."))
      continue;
    tensors.erase(name);
    gone.push_back(name.substr(name.find("layers.0.")));
  }
  ASSERT_EQ(gone.size(), 3u);
  write(tensors);
  expect_refused(gone);
}

// What eval, forward and inspect start from.
TEST_F(LedgerTest, CompressedCheckpointsAreHeldToTheSame) {
  for (const char* fixture : {"llama", "deepseek_v3"}) {
    take(fixture);
    ASSERT_OK(compress());
    fs::remove_all("again");
    fs::rename("packed", "again");
    fs::remove_all("runs");
    const auto status = [] {
      return must(OpenedModel::open("again", built_plugins(), loader(), LoadOptions()))
          .check_whole();
    };
    ASSERT_OK(status());
    const Tensors whole = read("again");
    const auto refused = [&](const Tensors& tensors, const std::string& name) {
      ASSERT_OK(io::write_safetensors("again/model.safetensors", {tensors.begin(), tensors.end()}));
      const absl::Status found = status();
      EXPECT_EQ(exit_code(found), 4) << name << ": " << found;
      EXPECT_THAT(std::string(found.message()), HasSubstr(name));
    };
    size_t index = 0;
    for (const auto& [name, tensor] : whole) {
      if (++index % (whole.size() > 100 ? 9 : 1) != 0) continue;
      Tensors changed = whole;
      changed.erase(name);
      refused(changed, name.substr(0, name.rfind('.')));
      if (tensor.dim() == 0) continue;
      changed[name] = at::ones({tensor.size(0) + 1}).to(tensor.scalar_type());
      refused(changed, name.substr(0, name.rfind('.')));
    }
    Tensors more = whole;
    more["model.layers.0.mlp.down_proj.offset"] = at::ones({2});
    refused(more, "model.layers.0.mlp.down_proj.offset");
    more = whole;
    more["model.layers.9.mlp.down_proj.weight_scale"] = at::ones({2, 2});
    refused(more, "model.layers.9.mlp.down_proj");
    more = whole;
    more.erase("model.layers.0.self_attn.o_proj.weight_scale");
    more.erase("model.layers.1.self_attn.o_proj.weight_scale");
    refused(more, "model.layers.0.self_attn.o_proj");
    refused(more, "model.layers.1.self_attn.o_proj");
  }
}

TEST_F(LedgerTest, ATiedHeadOfItsOwnValuesCounts) {
  take("qwen3");
  const at::Tensor embedding = read("model").at("model.embed_tokens.weight");
  add("lm_head.weight", embedding);
  ASSERT_OK(compress());
  EXPECT_EQ(read("packed").count("lm_head.weight"), 0u) << "equal values: they are tied";
  fs::remove_all("packed");
  fs::remove_all("runs");
  at::Tensor other = embedding.clone();
  other[-1][-1] += 1;  // transformers compares all of them
  add("lm_head.weight", other);
  ASSERT_OK(compress());
  EXPECT_TRUE(read("packed").at("lm_head.weight").equal(other));
  EXPECT_FALSE(config("packed").flag("tie_word_embeddings", true));
}

TEST_F(LedgerTest, ATiedFileThatHoldsTheHeadInPlaceOfTheEmbeddingIsRead) {
  for (const char* fixture : {"qwen3", "gemma2", "bloom"}) {
    take(fixture);
    for (const char* folder : {"packed", "runs"}) fs::remove_all(folder);
    Tensors tensors = read("model");
    const std::string table = fixture == std::string("bloom") ? "transformer.word_embeddings.weight"
                                                              : "model.embed_tokens.weight";
    const at::Tensor embedding = tensors.at(table);
    tensors.erase(table);
    tensors["lm_head.weight"] = embedding;
    write(tensors);
    ASSERT_OK(compress());
    EXPECT_TRUE(read("packed").at(table).equal(embedding)) << fixture;
    EXPECT_EQ(read("packed").count("lm_head.weight"), 0u) << fixture;
  }
}

TEST_F(LedgerTest, BuffersThatNothingReadsAreCarriedBitForBit) {
  const std::string name = "model.layers.1.self_attn.rotary_emb.inv_freq";
  const at::Tensor buffer = at::randn({8});
  add(name, buffer);
  ASSERT_OK(compress());
  EXPECT_TRUE(read("packed").at(name).equal(buffer));
  EXPECT_THAT(to_json(result()["notes"]), HasSubstr("carried into exports unchanged: 1 tensor"));
}

TEST_F(LedgerTest, DraftLayersAreCarriedWhereConfigCountsThem) {
  take("deepseek_v3");
  Tensors tensors = read("model");
  const std::string last = "model.layers.2.", draft = "model.layers.3.";
  for (const auto& [name, tensor] : read("model")) {
    if (absl::StartsWith(name, last)) tensors[draft + name.substr(last.size())] = tensor + 1;
  }
  tensors[draft + "eh_proj.weight"] = at::randn({64, 128});
  tensors[draft + "enorm.weight"] = at::randn({64});
  write(tensors);
  expect_refused({draft, "lies behind model.layers.2"});
  set("num_nextn_predict_layers", int64_t{1});
  ASSERT_OK(compress());
  const Tensors exported = read("packed");
  for (const auto& [name, tensor] : tensors) {
    if (!absl::StartsWith(name, draft)) continue;
    ASSERT_EQ(exported.count(name), 1u) << name;
    EXPECT_TRUE(exported.at(name).equal(tensor)) << name;
  }
  EXPECT_EQ(config("packed").i64("num_nextn_predict_layers", 0), 1);
  const std::string ignored = to_json(config("packed")["quantization_config"]["ignore"]);
  EXPECT_THAT(ignored, HasSubstr(draft + "eh_proj"));
  EXPECT_THAT(ignored, HasSubstr(draft + "mlp.experts.0.gate_proj"));
}

TEST_F(LedgerTest, CompressedCheckpointsAreNamedAsWhatTheyAre) {
  ASSERT_OK(compress());
  fs::rename("packed", "again");
  const absl::Status own = check("again");
  EXPECT_EQ(exit_code(own), 4);
  EXPECT_THAT(std::string(own.message()),
              AllOf(HasSubstr("compressed already with compressed-tensors"),
                    HasSubstr("start from the original"), HasSubstr("swage eval")));
  set("quantization_config", Value::Table{{"quant_method", "awq"}, {"bits", int64_t{4}}});
  expect_refused({"quant_method \"awq\"", "left over", "remove quantization_config"});
  set("quantization_config", Value::Table{});
  expect_refused({"left over", "remove quantization_config"});
  set("quantization_config", Value::Table{{"quant_method", "fp8"}});
  expect_refused({"no tensor is in fp8", "remove quantization_config"});
}

TEST_F(LedgerTest, Fp8WithoutScalesIsRefusedBeforeAnyWork) {
  Tensors tensors = read("model");
  for (auto& [name, tensor] : tensors) {
    if (absl::StrContains(name, "_proj")) tensor = tensor.to(at::kFloat8_e4m3fn);
  }
  write(tensors);
  expect_refused({"14 tensors are stored in fp8", "there are no scales"});
  tensors["model.layers.0.mlp.up_proj.weight_scale"] = at::ones({1});
  write(tensors);
  expect_refused({"scales lie beside them", "{\"quant_method\": \"fp8\"}"});
}

// A decoder that a third party made, with faults.
class Foreign final : public ModelAdapter {
 public:
  enum class Fault { kNone, kForgets, kWritesIntoWeights, kThrows, kBlockZero };
  Foreign(std::shared_ptr<ModelAdapter> own, Fault fault) : own_(std::move(own)), fault_(fault) {}
  absl::Status open(const Value& config) override { return own_->open(config); }
  const ModelShape& shape() const override { return own_->shape(); }
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override {
    return own_->load_embedding(tower, source, options);
  }
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    const BlockId wanted = fault_ == Fault::kBlockZero ? BlockId{id.tower, 0} : id;
    SWAGE_ASSIGN_OR_RETURN(auto block, own_->load_block(wanted, source, options));
    if (fault_ == Fault::kForgets) {
      for (Subset& subset : block->subsets()) {
        if (subset.fold.norm_weight == &block->parameters().back()) subset.fold = {};
      }
      block->parameters().pop_back();
    }
    if (fault_ == Fault::kWritesIntoWeights) block->linears().front().weight.mul_(2);
    if (fault_ == Fault::kThrows) throw std::runtime_error("no such key");
    return block;
  }
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override {
    return own_->load_head(source, options);
  }

 private:
  const std::shared_ptr<ModelAdapter> own_;
  const Fault fault_;
};

absl::Status status_with(Foreign::Fault fault) {
  const OpenedModel model =
      must(OpenedModel::open("model", built_plugins(), loader(), LoadOptions()));
  Foreign adapter(must(open_adapter(loader(), model.rules(), model.checkpoint().config())), fault);
  const Ledger ledger =
      must(account(adapter, "foreign", model.header(), {model.rules().manifest, 0, ""}));
  return ledger.status("model", "foreign");
}

TEST_F(LedgerTest, AForeignAdapterIsHeldToTheSame) {
  EXPECT_OK(status_with(Foreign::Fault::kNone));
  EXPECT_OK(status_with(Foreign::Fault::kWritesIntoWeights));
  const absl::Status forgotten = status_with(Foreign::Fault::kForgets);
  EXPECT_EQ(exit_code(forgotten), 4) << forgotten;
  EXPECT_THAT(std::string(forgotten.message()),
              AllOf(HasSubstr("2 tensors would be lost"), HasSubstr("the adapter reads it, but")));
  const absl::Status thrown = status_with(Foreign::Fault::kThrows);
  EXPECT_EQ(exit_code(thrown), 5);
  EXPECT_THAT(std::string(thrown.message()), AllOf(HasSubstr("foreign"), HasSubstr("block 0")));
  const absl::Status repeated = status_with(Foreign::Fault::kBlockZero);
  EXPECT_EQ(exit_code(repeated), 5);
  EXPECT_THAT(std::string(repeated.message()), HasSubstr("answers with block 0"));
}

// Headers of large models, without weights (headers.py).
class LargeModel : public LedgerTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(LargeModel, IsCheckedFromItsHeadersAndEveryFaultIsFound) {
  const std::string maker = (test_data().parent_path() / "engine" / "headers.py").string();
  const std::string command = absl::StrCat("python3 ", maker, " ", GetParam(), " large");
  ASSERT_EQ(std::system(command.c_str()), 0);
  const OpenedModel model = must(OpenedModel::open("large", built_plugins(), loader(),
                                                   LoadOptions(), OpenedModel::Compare::kSampled));
  ASSERT_OK(model.check_floats());
  const auto adapter = must(open_adapter(loader(), model.rules(), model.checkpoint().config()));
  std::vector<std::string> names;
  for (const auto& [name, info] : model.header()) names.push_back(name);
  const char* const asked = std::getenv("SWAGE_LEDGER_SAMPLES");
  const size_t samples = asked != nullptr ? std::stoul(asked) : 10;
  for (size_t i = 0; i < samples; ++i) {
    const std::string& name = names[i * names.size() / samples];
    io::Header header = model.header();
    if (i % 2 == 0) {
      header.erase(name);
    } else {
      header[name].shape.back() += 1;
    }
    const Ledger ledger =
        must(account(*adapter, "adapter", header, {model.rules().manifest, 0, ""}));
    const absl::Status status = ledger.status("large", "adapter");
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

INSTANTIATE_TEST_SUITE_P(Headers, LargeModel, ::testing::Values("deepseek_v3", "llama_405b"));

}  // namespace
}  // namespace swage::testing_support
