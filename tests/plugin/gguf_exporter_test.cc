// What the exporter "gguf" writes is read back from the file alone: a small llama in every type.
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"
#include "swage/io/checkpoint.h"
#include "swage/io/gguf.h"
#include "swage/io/gguf_header.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kHidden = 256, kWords = 32;
const char kUp[] = "model.layers.0.mlp.up_proj";

Value::Table params(const char* floats = "checkpoint", int64_t shard_size = 48000) {
  return {{"floats", floats}, {"file", "tiny"}, {"shard_size", shard_size}};
}

Value source() {
  return Value(Value::Table{{"architectures", Value::List{"LlamaForCausalLM"}},
                            {"model_type", "llama"},
                            {"hidden_act", "silu"},
                            {"torch_dtype", "bfloat16"},
                            {"hidden_size", kHidden},
                            {"intermediate_size", kHidden},
                            {"num_hidden_layers", 1},
                            {"num_attention_heads", 4},
                            {"num_key_value_heads", 2},
                            {"rms_norm_eps", 1e-5},
                            {"rope_theta", 10000.0},
                            {"max_position_embeddings", 64},
                            {"vocab_size", kWords},
                            {"tie_word_embeddings", true}});
}

struct Place {
  const char* name;
  int64_t out;
};
constexpr Place kLinears[] = {{"self_attn.q_proj", 256}, {"self_attn.k_proj", 128},
                              {"self_attn.v_proj", 128}, {"self_attn.o_proj", 256},
                              {"mlp.gate_proj", 256},    {"mlp.up_proj", 256},
                              {"mlp.down_proj", 256}};

at::Tensor random(at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); }

// One run and the checkpoint that it leaves.
struct Tiny {
  explicit Tiny(const Value::Table& with = params()) : run("gguf", with) {
    run.beside = {{"LICENSE", "free"}};  // no tokenizer
  }

  // All linears under this scheme; without one they are kept.
  void fill(const std::string& json, at::ScalarType scales = at::kHalf, bool embedding = true) {
    for (const Place& place : kLinears) {
      const std::string name = std::string("model.layers.0.") + place.name;
      if (json.empty()) {
        run.keep(name, random({place.out, kHidden}));
      } else {
        results.push_back(quantized(name, place.out, kHidden, scheme(json), scales));
        run.add(results.back());
      }
    }
    if (embedding) run.add_parameter("model.embed_tokens.weight", random({kWords, kHidden}));
    for (const char* norm : {"model.norm", "model.layers.0.input_layernorm",
                             "model.layers.0.post_attention_layernorm"})
      run.add_parameter(std::string(norm) + ".weight", random({kHidden}));
  }
  void finish() {
    run.finish(source());
    files = must(io::open_checkpoint(run.directory()));
  }
  absl::StatusOr<Result> decode(const std::string& name) {
    return run.exporter().decode(name, files->weights(), files->config());
  }
  std::string path() const { return run.directory() + "/tiny.gguf"; }

  Export run;
  std::vector<Result> results;
  std::unique_ptr<io::Checkpoint> files;
};

const std::vector<std::string>& schemes() {
  static const std::vector<std::string> all = {R"({"format": "q4_0"})",
                                               R"({"format": "q4_1"})",
                                               R"({"format": "q5_0"})",
                                               R"({"format": "q5_1"})",
                                               R"({"format": "q8_0"})",
                                               R"({"format": "iq4_nl"})",
                                               R"({"format": "q2_k"})",
                                               R"({"format": "q3_k"})",
                                               R"({"format": "q4_k"})",
                                               R"({"format": "q5_k"})",
                                               R"({"format": "q6_k"})",
                                               R"({"format": "mxfp4"})",
                                               R"({"format": "nvfp4"})",
                                               R"({"format": "nvfp4", "decoded": "fp32"})",
                                               R"({"bits": 4, "group": 32})",
                                               R"({"bits": 4, "group": 128})",
                                               R"({"bits": 2, "granularity": "channel"})",
                                               R"({"bits": 3, "group": 64, "symmetric": false})",
                                               R"({"bits": 4, "group": 64, "symmetric": false})",
                                               R"({"bits": 5, "group": 64})",
                                               R"({"bits": 7, "group": 64, "symmetric": false})",
                                               R"({"bits": 8, "granularity": "channel"})"};
  return all;
}

TEST(GgufExporter, ReadsEveryTypeBackToTheLastBit) {
  for (const std::string& json : schemes()) {
    SCOPED_TRACE(json);
    Tiny tiny;
    tiny.fill(json);
    tiny.finish();
    EXPECT_EQ(tiny.files->config()["quantization_config"].str("quant_method", ""), "gguf");
    for (const Result& linear : tiny.results) {
      const Result back = must(tiny.decode(linear.name()));
      EXPECT_EQ(digest(back), digest(tiny.run.exporter().stored_form(linear))) << linear.name();
      EXPECT_TRUE(at::equal(decode_whole(back), decode_whole(linear))) << linear.name();
    }
    for (const std::string& name : tiny.run.store().names()) {
      if (!tiny.files->weights().has(name)) continue;
      EXPECT_TRUE(at::equal(must(tiny.files->weights().read(name)).to(at::kFloat),
                            must(tiny.run.store().read(name)).to(at::kFloat)))
          << name;
    }
    EXPECT_TRUE(tiny.files->weights().has("model.norm.weight"));
  }
}

// bf16 scales are numbers of fp16 too, and values are rounded to bf16 as the run had them.
TEST(GgufExporter, KeepsTheValuesOfIntegersUnderBfloat16Scales) {
  Tiny tiny;
  tiny.fill(R"({"bits": 4, "group": 64, "symmetric": false})", at::kBFloat16);
  tiny.finish();
  for (const Result& linear : tiny.results) {
    const Result back = must(tiny.decode(linear.name()));
    EXPECT_EQ(decoded_type(back), at::kBFloat16);
    EXPECT_TRUE(at::equal(decode_whole(back), decode_whole(linear))) << linear.name();
  }
}

TEST(GgufExporter, SaysWhatTheModelIs) {
  Tiny tiny;
  tiny.fill(R"({"format": "q4_k"})");
  tiny.finish();
  const io::GgufFile file = must(io::read_gguf(tiny.path()));
  EXPECT_EQ(file.metadata.str("general.architecture", ""), "llama");
  EXPECT_EQ(file.metadata.str("general.name", ""), "tiny");
  EXPECT_EQ(file.metadata.i64("general.quantization_version", 0), 2);
  EXPECT_EQ(file.metadata.i64("general.file_type", 0), 14);
  EXPECT_EQ(file.metadata.i64("llama.block_count", 0), 1);
  EXPECT_EQ(file.tensors.at("blk.0.attn_norm.weight").type, io::kGgufF32);
  EXPECT_EQ(file.tensors.at("blk.0.ffn_up.weight").type, 12u);
  EXPECT_EQ(file.tensors.at("token_embd.weight").type, io::kGgufBF16);
  EXPECT_EQ(file.config.i64("hidden_size", 0), kHidden);
  EXPECT_EQ(file.config.f64("rms_norm_eps", 0), 1e-5);
  EXPECT_EQ(tiny.run.text("LICENSE"), "free") << "files beside the weights are there";
}

TEST(GgufExporter, StoresFloatsAsAskedFor) {
  const std::pair<const char*, uint32_t> types[] = {{"checkpoint", io::kGgufBF16},
                                                    {"bf16", io::kGgufBF16},
                                                    {"f16", io::kGgufF16},
                                                    {"f32", io::kGgufF32}};
  for (const auto& [floats, type] : types) {
    Tiny tiny(params(floats));
    tiny.fill("");
    tiny.finish();
    const io::GgufFile file = must(io::read_gguf(tiny.path()));
    EXPECT_EQ(file.tensors.at("blk.0.ffn_up.weight").type, type) << floats;
    EXPECT_EQ(file.tensors.at("output_norm.weight").type, io::kGgufF32);
    EXPECT_FALSE(file.metadata.has("general.quantization_version"));
    EXPECT_FALSE(tiny.files->config().has("quantization_config"));
    EXPECT_EQ(tiny.decode(kUp).status().code(), absl::StatusCode::kNotFound);
    const at::Tensor put = must(tiny.run.store().read(std::string(kUp) + ".weight"));
    const at::Tensor read = must(tiny.files->weights().read(std::string(kUp) + ".weight"));
    const at::Tensor once = type == io::kGgufF16 ? put.to(at::kHalf).to(at::kFloat) : put;
    EXPECT_TRUE(at::equal(read.to(at::kFloat), once.to(at::kFloat))) << floats;
  }
}

TEST(GgufExporter, SplitsLargeFilesAsLlamaCppDoes) {
  Tiny tiny(params("f32", 1));
  tiny.fill("");
  tiny.finish();
  const std::vector<std::string> parts = must(io::gguf_files(tiny.run.directory()));
  ASSERT_GT(parts.size(), 1u);
  EXPECT_THAT(parts[0], HasSubstr("/tiny-00001-of-0000"));
  const io::GgufFile file = must(io::read_gguf(parts[1]));
  EXPECT_EQ(file.paths, parts);
  EXPECT_EQ(file.metadata.i64("split.no", -1), 0);
  EXPECT_EQ(file.metadata.i64("split.count", 0), static_cast<int64_t>(parts.size()));
  EXPECT_EQ(file.metadata.i64("split.tensors.count", 0), 11);
  EXPECT_EQ(file.tensors.size(), 11u);
  for (const Place& place : kLinears) {
    const std::string name = std::string("model.layers.0.") + place.name + ".weight";
    EXPECT_TRUE(at::equal(must(tiny.files->weights().read(name)),
                          must(tiny.run.store().read(name)).to(at::kFloat)))
        << name;
  }
  std::filesystem::remove(parts[1]);
  EXPECT_THAT(std::string(io::open_checkpoint(tiny.run.directory()).status().message()),
              HasSubstr("part 2 of"));
}

TEST(GgufExporter, StoresEmbeddingsInBlocks) {
  Tiny tiny;
  Result table = quantized("model.embed_tokens", kWords, kHidden, scheme(R"({"format": "q6_k"})"));
  tiny.run.add(table);
  tiny.fill(R"({"format": "q4_0"})", at::kHalf, false);
  tiny.finish();
  EXPECT_EQ(digest(must(tiny.decode("model.embed_tokens"))), digest(table));
}

// Everything that decides about a value: each byte of a row that changes gives other values.
TEST(GgufExporter, NoticesEveryByte) {
  for (const char* json : {R"({"format": "q4_0"})", R"({"format": "q4_k"})",
                           R"({"format": "q6_k"})", R"({"format": "nvfp4"})"}) {
    SCOPED_TRACE(json);
    Tiny tiny;
    tiny.fill(json);
    tiny.finish();
    const io::GgufFile file = must(io::read_gguf(tiny.path()));
    const io::GgufTensor& tensor = file.tensors.at("blk.0.ffn_up.weight");
    const std::string before = digest(must(tiny.decode(kUp)));
    const int64_t block = io::gguf_block(tensor.type).bytes;
    for (int64_t i = 0; i < block; ++i) {
      const auto flip = [&] {
        std::fstream stream(tiny.path(), std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(tensor.begin + i);
        const char byte = static_cast<char>(stream.get() ^ 1);
        stream.seekp(tensor.begin + i);
        stream.put(byte);
      };
      flip();
      const auto changed = tiny.decode(kUp);
      EXPECT_TRUE(!changed.ok() || digest(*changed) != before) << i;
      flip();
    }
    EXPECT_EQ(digest(must(tiny.decode(kUp))), before);
  }
}

std::string refusal(const std::string& json, const std::string& name = kUp, int64_t in = kHidden,
                    at::ScalarType scales = at::kHalf, LinearPlace place = LinearPlace::kBlock) {
  const auto exporter = must(loader().exporter("gguf", Params(params())));
  LinearSummary linear;
  linear.name = name;
  linear.out = 64;
  linear.in = in;
  linear.weight = scheme(json);
  linear.scale_dtype = scales;
  linear.place = place;
  return std::string(exporter->check({linear}).message());
}

TEST(GgufExporter, RefusesWhatLlamaCppHasNoBlocksFor) {
  EXPECT_THAT(refusal(R"({"format": "q4_k"})"), IsEmpty());
  EXPECT_THAT(refusal(R"({"format": "fp8-e4m3"})"), HasSubstr("it has no blocks for \"fp8-e4m3\""));
  EXPECT_THAT(refusal(R"({"format": "nvfp4"})", kUp, 96), HasSubstr("a block holds 64 columns"));
  EXPECT_THAT(refusal(R"({"format": "q4_k"})", kUp, 576), HasSubstr("a block holds 256 columns"));
  EXPECT_THAT(refusal(R"({"bits": 4, "group": 16})"), HasSubstr("32 columns under a scale"));
  EXPECT_THAT(refusal(R"({"bits": 8, "group": 32, "symmetric": false})"),
              HasSubstr("asymmetric codes of 8 bits"));
  EXPECT_THAT(refusal(R"({"bits": 4, "group": 32})", kUp, kHidden, at::kFloat),
              HasSubstr("scale_dtype = \"fp16\""));
  EXPECT_THAT(refusal(R"({"format": "mxfp4", "scale_rule": "four-thirds"})"),
              HasSubstr("another scale_rule"));
  EXPECT_THAT(refusal(R"({"format": "q8_0"})", "model.layers.0.self_attn.kv_b_proj"),
              HasSubstr("columns become rows"));
  EXPECT_THAT(refusal(R"({"format": "nvfp4"})", "lm_head", kHidden, at::kHalf, LinearPlace::kHead),
              HasSubstr("no factor of an embedding or a head"));
  EXPECT_THAT(refusal(R"({"format": "q6_k"})", "lm_head", kHidden, at::kHalf, LinearPlace::kHead),
              IsEmpty());
}

TEST(GgufExporter, WantsOneTypeForExpertsThatAreStacked) {
  const auto exporter = must(loader().exporter("gguf", Params(params())));
  std::vector<LinearSummary> planned(2);
  for (size_t i = 0; i < 2; ++i) {
    planned[i].name = "model.layers.0.mlp.experts." + std::to_string(i) + ".up_proj";
    planned[i].out = planned[i].in = kHidden;
    planned[i].weight = scheme(i == 0 ? R"({"format": "q4_k"})" : R"({"format": "q6_k"})");
  }
  EXPECT_THAT(std::string(exporter->check(planned).message()),
              HasSubstr("experts.1.up_proj would be stored in q6_k and "));
  planned[1] = planned[0];
  planned[1].name = "model.layers.0.mlp.experts.1.up_proj";
  EXPECT_TRUE(exporter->check(planned).ok());
}

TEST(GgufExporter, RefusesScalesThatAreNoFp16) {
  Tiny tiny;
  Result linear = quantized(kUp, 8, 64, scheme(R"({"bits": 4, "group": 32})"), at::kBFloat16);
  linear.part("scales").fill_(1e-7);
  TensorStore store;
  EXPECT_FALSE(tiny.run.exporter().encode(linear, store).ok());
}

}  // namespace
}  // namespace swage
