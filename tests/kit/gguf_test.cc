// Values equal to those of the PyPI package `gguf`; kit/gguf/make_gguf_goldens.py makes the file
// compared with.
#include "swage/io/gguf.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "swage/io/gguf_header.h"
#include "swage/quant/gguf_blocks.h"
#include "swage/text/tokenizer.h"
#include "tests/kit/gguf_support.h"
#include "tests/kit/gguf_writer.h"
#include "tests/kit/text_files.h"

namespace swage::io {
namespace {

using testing_gguf::Writer;
using testing_text::read_text;
using testing_text::test_data;
using testing_text::write_temporary;

constexpr int64_t kSize = 256;  // hidden size, rows of every matrix, vocabulary
constexpr uint32_t kTypes[] = {0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 30, 39};

// Is it the high byte of a scale?
bool holds_exponent(uint32_t type, size_t place) {
  if (type == 10) return place == 81 || place == 83;
  if (type == 11) return place == 109;
  if (type == 39) return place == 0;
  return place == 1 || place == 3 || place == 209;
}

// Blocks whose bytes come from a generator; scales stay finite because their high bytes are masked.
std::string made_up_blocks(uint32_t type, int64_t values) {
  const GgufBlock block = gguf_block(type);
  uint64_t state = type;
  std::string out(static_cast<size_t>(values / block.values * block.bytes), '\0');
  for (size_t i = 0; i < out.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const size_t place = i % static_cast<size_t>(block.bytes);
    out[i] = static_cast<char>(state >> 56);
    if (holds_exponent(type, place)) out[i] = static_cast<char>(out[i] & 0x3B);
  }
  return out;
}

template <class Word>
uint64_t digest(const at::Tensor& values) {
  const auto* words = static_cast<const Word*>(values.const_data_ptr());
  uint64_t sum = 0;
  for (int64_t i = 0; i < values.numel(); ++i) sum += words[i] * static_cast<uint64_t>(2 * i + 1);
  return sum;
}

std::string hex(uint64_t value) {
  std::ostringstream out;
  out << std::hex;
  out.width(16);
  out.fill('0');
  out << value;
  return out.str();
}

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * 4};
}

// Metadata and tensors of one block with every matrix of the given type.
struct Model : Writer {
  explicit Model(uint32_t type = 3, const std::string& architecture = "llama") {
    string("general.architecture", architecture);
    for (const char* key : {"embedding_length", "feed_forward_length"})
      u32(std::string("llama.") + key, kSize);
    u32("llama.block_count", 1);
    u32("llama.context_length", 64);
    u32("llama.attention.head_count", 2);
    raw("llama.attention.layer_norm_rms_epsilon", 6, floats({1e-5f}));
    raw("llama.rope.freq_base", 6, floats({10000.0f}));
    for (const char* part :
         {"ffn_down", "ffn_gate", "ffn_up", "attn_k", "attn_output", "attn_q", "attn_v"}) {
      matrix(std::string("blk.0.") + part + ".weight", type);
    }
    for (const char* norm : {"blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"}) {
      tensor(std::string(norm) + ".weight", {kSize}, 0,
             floats(std::vector<float>(kSize, 1.0f + 1.0f / 1024)));
    }
  }
  void matrix(const std::string& name, uint32_t type) {
    tensor(name, {kSize, kSize}, type, made_up_blocks(type, kSize * kSize));
  }
  void tokens() {
    std::vector<std::string> tokens = {"<s>", "a", "b", "ab", "\u0120"};
    std::vector<int32_t> types(kSize, 1);
    types[0] = 3;
    while (tokens.size() < kSize) tokens.push_back("t" + std::to_string(tokens.size()));
    string("tokenizer.ggml.model", "gpt2");
    string("tokenizer.ggml.pre", "smollm");
    strings("tokenizer.ggml.tokens", tokens);
    strings("tokenizer.ggml.merges", {"a b"});
    integers("tokenizer.ggml.token_type", types);
    u32("tokenizer.ggml.bos_token_id", 0);
    u32("tokenizer.ggml.eos_token_id", 3);
    string("tokenizer.chat_template", "{{ messages }}");
  }
  Model& embedding(uint32_t type = 8) {
    matrix("token_embd.weight", type);
    return *this;
  }
};

std::string refusal(const std::string& content) {
  const std::string path = write_temporary("refused.gguf", content);
  const auto file = read_gguf(path);
  if (file.ok()) return "none";
  const std::string message(file.status().message());
  EXPECT_EQ(message.substr(0, path.size()), path);
  return message.substr(path.size());
}

TEST(Gguf, DecodesEveryTypeAsTheGgufPackageDoes) {
  const auto golden = parse_json(read_text(test_data("gguf/goldens.json")), "goldens.json");
  ASSERT_TRUE(golden.ok());
  for (const uint32_t type : kTypes) {
    SCOPED_TRACE(gguf_type_name(type));
    Model model(type);
    model.embedding(0);  // a plain F32 matrix: values are handed out in fp32, unrounded
    const auto checkpoint = open_gguf(write_temporary("types.gguf", model.file()));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const WeightSource& weights = (*checkpoint)->weights();
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    const at::Tensor values = weights.read(name).value();
    ASSERT_EQ(values.scalar_type(), at::kFloat);
    const Value& expected = (*golden)["types"][std::to_string(type)];
    EXPECT_EQ(hex(digest<uint32_t>(values)), expected.str("digest", ""));
    for (int i = 0; i < 4; ++i) {
      double first = 0;
      ASSERT_TRUE((*expected["first"].list())[i].number(&first));
      EXPECT_EQ(values.const_data_ptr<float>()[i], static_cast<float>(first));
    }
    EXPECT_TRUE(at::equal(weights.read_rows(name, 100, 103).value(), values.narrow(0, 100, 3)));
  }
}

// Reader and codecs define the same values: whatever the bytes, and what a codec has packed.
TEST(Gguf, ReadsBlocksAsTheirCodecsDecodeThem) {
  for (const std::string& format : testing_gguf::block_formats()) {
    SCOPED_TRACE(format);
    const quant::GgufFormat blocks = quant::gguf_format(format);
    EXPECT_EQ(gguf_block(blocks.type).values, blocks.columns);
    EXPECT_EQ(gguf_block(blocks.type).bytes, blocks.bytes);
    const auto codec = testing_gguf::codec_of(format, "weighted");
    const at::Tensor weight = testing_gguf::gaussian(kSize, kSize, blocks.type);
    const at::Tensor packed =
        *quant::pack_gguf(codec->encode(weight, *codec->fit(weight, {})), format);
    const std::string made_up = made_up_blocks(blocks.type, kSize * kSize);
    const std::string own(static_cast<const char*>(packed.const_data_ptr()),
                          static_cast<size_t>(packed.numel()));
    for (const std::string& bytes : {made_up, own}) {
      Model model(0);
      model.embedding(0);  // fp32, unrounded
      model.tensor("output.weight", {kSize, kSize}, blocks.type, bytes);
      const auto checkpoint = open_gguf(write_temporary("codecs.gguf", model.file()));
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      const at::Tensor read = (*checkpoint)->weights().read("lm_head.weight").value();
      at::Tensor rows = at::empty(packed.sizes(), at::kByte);
      std::memcpy(rows.mutable_data_ptr(), bytes.data(), bytes.size());
      const Parts parts = *quant::unpack_gguf(rows, format);
      EXPECT_TRUE(codec->validate(parts, kSize, kSize).ok());
      EXPECT_TRUE(testing_gguf::same_bits(codec->decode(parts, kSize, kSize), read));
    }
  }
}

TEST(Gguf, PutsRowsOfQueryAndKeyBackIntoTheirOrder) {
  Model model(0);
  const auto checkpoint = open_gguf(write_temporary("rows.gguf", model.embedding().file()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const WeightSource& weights = (*checkpoint)->weights();
  const at::Tensor stored =
      weights.read("model.layers.0.self_attn.v_proj.weight").value();  // the same bytes
  const int64_t half = kSize / 2 / 2;                                  // two heads
  for (const char* name :
       {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"}) {
    const at::Tensor rows = weights.read(name).value();
    for (int64_t row = 0; row < kSize; ++row) {
      const int64_t head = row / (2 * half), part = row / half % 2, pair = row % half;
      EXPECT_TRUE(at::equal(rows[row], stored[head * 2 * half + 2 * pair + part])) << row;
    }
    EXPECT_TRUE(at::equal(weights.read_rows(name, 5, 9).value(), rows.narrow(0, 5, 4)));
  }
}

TEST(Gguf, HandsOutQuantizedFilesInBfloat16RoundedOnce) {
  Model model;
  const auto checkpoint = open_gguf(write_temporary("storage.gguf", model.embedding().file()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const WeightSource& weights = (*checkpoint)->weights();
  EXPECT_EQ(weights.names().size(), 11u);
  EXPECT_EQ(weights.dtype("model.norm.weight").value(), at::kBFloat16);
  EXPECT_EQ(weights.shape("model.embed_tokens.weight").value(),
            (std::vector<int64_t>{kSize, kSize}));
  EXPECT_EQ(weights.read("model.norm.weight").value()[0].item<float>(), 1.0f);  // 1 + 2^-10
  EXPECT_EQ(weights.read("lm_head.weight").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(weights.read_rows("model.norm.weight", 3, 999).ok());
  EXPECT_EQ((*checkpoint)->config().str("torch_dtype", ""), "bfloat16");
  Model halves(1);
  EXPECT_EQ(read_gguf(write_temporary("halves.gguf", halves.embedding(1).file()))->storage,
            StoredType::kF16);
}

TEST(Gguf, MakesTheConfigurationFromTheMetadata) {
  Model model;
  model.tokens();
  model.string("llama.rope.scaling.type", "linear");
  model.raw("llama.rope.scaling.factor", 6, floats({2.0f}));
  const auto checkpoint = open_gguf(write_temporary("config.gguf", model.embedding().file()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(
      to_json((*checkpoint)->config(), -1),
      R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":0,"eos_token_id":3,"hidden_act":"silu",)"
      R"("hidden_size":256,"intermediate_size":256,"max_position_embeddings":64,"mlp_bias":false,"model_type":"llama",)"
      R"("num_attention_heads":2,"num_hidden_layers":1,"num_key_value_heads":2,"pad_token_id":3,"rms_norm_eps":1e-05,)"
      R"("rope_scaling":{"factor":2.0,"rope_type":"linear"},"rope_theta":10000.0,"tie_word_embeddings":true,)"
      R"("torch_dtype":"bfloat16","vocab_size":256})");
}

std::string content(const std::vector<std::pair<std::string, std::string>>& files,
                    const std::string& name) {
  for (const auto& [file, text] : files) {
    if (file == name) return text;
  }
  return "";
}

TEST(Gguf, MakesATokenizerFromTheMetadata) {
  Model model;
  model.tokens();
  const auto checkpoint = open_gguf(write_temporary("tokens.gguf", model.embedding().file()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto files = (*checkpoint)->side_files();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 4u);
  const auto tokenizer = text::Tokenizer::create(content(*files, "tokenizer.json"),
                                                 content(*files, "tokenizer_config.json"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->encode("ab<s>b a", true).value(), (std::vector<int64_t>{3, 0, 2, 4, 1}));
  Model bos;
  bos.tokens();
  bos.raw("tokenizer.ggml.add_bos_token", 7, Writer::number(1, 1));
  const auto with_bos = open_gguf(write_temporary("bos.gguf", bos.embedding().file()));
  const std::string json = content((*with_bos)->side_files().value(), "tokenizer.json");
  EXPECT_EQ(text::Tokenizer::create(json, "").value()->encode("a", true).value(),
            (std::vector<int64_t>{0, 1}));
}

TEST(Gguf, HasNoTokenizerFilesWhereTheMetadataHasNone) {
  const auto plain = open_gguf(write_temporary("plain.gguf", Model().embedding().file()));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_TRUE((*plain)->side_files().value().empty());
  Model sentencepiece;
  sentencepiece.string("tokenizer.ggml.model", "bert");
  const std::string path = write_temporary("spm.gguf", sentencepiece.embedding().file());
  EXPECT_EQ(open_gguf(path).value()->side_files().status().message(),
            path +
                ": the tokenizer model \"bert\" is not read, expected gpt2 (byte-level BPE) or "
                "llama (SentencePiece); use the safetensors checkpoint with its tokenizer.json");
}

// Pieces as Llama 2 has them: "ab" comes before "ba", and bytes stand in for what is missing.
TEST(Gguf, MakesATokenizerFromSentencePieces) {
  const auto ids = [](bool bos) {
    Model model;
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "a", "b", "▁", "ba", "ab", "▁ab"};
    std::vector<float> scores = {0, 0, 0, -9, -9, -9, -2, -1, -3};
    std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 1, 1, 1};
    for (int byte = 0; byte < 256; ++byte) {
      char name[7];
      std::snprintf(name, sizeof(name), "<0x%02X>", byte);
      tokens.push_back(name);
      scores.push_back(0);
      types.push_back(6);
    }
    model.string("tokenizer.ggml.model", "llama");
    model.strings("tokenizer.ggml.tokens", tokens);
    model.raw("tokenizer.ggml.scores", 9,
              Writer::number(6, 4) + Writer::number(scores.size(), 8) + floats(scores));
    model.integers("tokenizer.ggml.token_type", types);
    model.u32("tokenizer.ggml.bos_token_id", 1);
    if (!bos) model.raw("tokenizer.ggml.add_bos_token", 7, Writer::number(0, 1));
    const auto files = open_gguf(write_temporary("pieces.gguf", model.embedding().file()))
                           .value()
                           ->side_files()
                           .value();
    return text::Tokenizer::create(content(files, "tokenizer.json"),
                                   content(files, "tokenizer_config.json"))
        .value()
        ->encode("aba\n", true)
        .value();
  };
  EXPECT_EQ(ids(true), (std::vector<int64_t>{1, 8, 3, 9 + '\n'}));
  EXPECT_EQ(ids(false), (std::vector<int64_t>{8, 3, 9 + '\n'}));
}

TEST(Gguf, ListsTensorsWithoutReadingThem) {
  const auto header = read_gguf_header(write_temporary("header.gguf", Model().embedding().file()));
  ASSERT_TRUE(header.ok()) << header.status();
  const TensorInfo& info = header->at("model.layers.0.mlp.gate_proj.weight");
  EXPECT_EQ(info.type, StoredType::kBF16);
  EXPECT_EQ(info.shape, (std::vector<int64_t>{kSize, kSize}));
  EXPECT_EQ(info.end - info.begin, kSize * kSize * 2);
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string whole = Model().embedding().file();
  EXPECT_EQ(refusal(whole), "none");
  for (size_t size = 0; size < 3000; size += size < 200 ? 1 : 37) {
    EXPECT_NE(refusal(whole.substr(0, size)), "none") << size;
  }
  EXPECT_EQ(refusal(whole.substr(0, whole.size() - 1)),
            ": tensor \"token_embd.weight\" ends at byte " + std::to_string(whole.size()) +
                " of a file of " + std::to_string(whole.size() - 1) +
                " bytes: the file is truncated (at byte 985)");
}

TEST(Gguf, RefusesWhatIsNoGguf3OfALlama) {
  EXPECT_EQ(refusal("{\"model\": 1}"),
            ": this is no GGUF file; a model is the folder of a Hugging Face checkpoint or a GGUF "
            "file (at "
            "byte 4)");
  Model old;
  old.version = 2;
  EXPECT_EQ(refusal(old.file()), ": GGUF version 2, expected 3 (at byte 8)");
  EXPECT_EQ(refusal(Model(3, "mamba").embedding().file()).substr(0, 80),
            ": the architecture is \"mamba\", which is not read from GGUF; those that are: llam");
  EXPECT_EQ(refusal(Model(3, "qwen2").embedding().file()),
            ": the key \"qwen2.block_count\" is missing");
  EXPECT_EQ(refusal(Model().file()), ": the tensor \"token_embd.weight\" is missing");
  EXPECT_EQ(read_gguf("no/such.gguf").status().message(),
            "no/such.gguf: cannot be opened (No such file or directory)");
}

TEST(Gguf, RefusesMetadataThatCannotBe) {
  const auto with = [](auto change) {
    Model model;
    change(model);
    const std::string message = refusal(model.embedding().file());
    return message.substr(0, message.find(" (at byte"));
  };
  EXPECT_EQ(with([](Model& m) { m.u32("llama.block_count", 1); }),
            ": the key \"llama.block_count\" stands there twice");
  EXPECT_EQ(with([](Model& m) { m.raw("x", 8, Writer::number(~0ull, 8)); }),
            ": a text of 18446744073709551615 bytes leaves the file");
  EXPECT_EQ(
      with([](Model& m) { m.raw("x", 9, Writer::number(0, 4) + Writer::number(1ull << 60, 8)); }),
      ": an array of 1152921504606846976 items, at most 4194304 in all are read");
  EXPECT_EQ(with([](Model& m) { m.raw("x", 9, Writer::number(9, 4) + Writer::number(1, 8)); }),
            ": an array of arrays");
  EXPECT_EQ(with([](Model& m) { m.raw("x", 77, ""); }), ": a value of the unknown type 77");
  EXPECT_EQ(with([](Model& m) { m.u32("general.alignment", 3); }),
            ": an alignment of 3, expected a power of two");
  EXPECT_EQ(with([](Model& m) { m.string("llama.expert_count", "two"); }),
            ": \"llama.expert_count\" is a string, expected an integer");
  EXPECT_EQ(with([](Model& m) { m.u32("llama.expert_count", 8); }),
            ": the key \"llama.expert_used_count\" is missing");
  EXPECT_EQ(with([](Model& m) { m.extra_tensors = 1ll << 40; }),
            ": 1099511627787 tensors and 8 keys, at most 1048576 and 65536 are read");
}

TEST(Gguf, RefusesTensorsThatCannotBe) {
  const auto with = [](const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                       int64_t shift = 0) {
    Model model;
    model.embedding().tensor(name, shape, type, std::string(640, '\0'), shift);
    const std::string message = refusal(model.file());
    return message.substr(0, message.find(" (at byte"));
  };
  EXPECT_EQ(with("output.weight", {2, 256}, 3), "none");
  EXPECT_EQ(with("output.weight", {2, 256}, 3, 32).substr(0, 41),
            ": tensor \"output.weight\" lies at offset 3");
  EXPECT_EQ(with("output.weight", {2, 250}, 3),
            ": tensor \"output.weight\": rows of 250 values, expected a multiple of 32 for Q4_1");
  EXPECT_EQ(with("output.weight", {256}, 3),
            ": tensor \"output.weight\": one dimension in type Q4_1, expected plain numbers");
  EXPECT_EQ(with("output.weight", {2, 256}, 16),
            ": tensor \"output.weight\": values of type IQ2_XXS are not read; give the safetensors "
            "checkpoint, or a file of another type");
  EXPECT_EQ(with("output.weight", {1ull << 40, 1ull << 40}, 0),
            ": tensor \"output.weight\": a dimension of 1099511627776");
  EXPECT_EQ(with("output.weight", {}, 0),
            ": tensor \"output.weight\": 0 dimensions, expected 1 to 4");
  EXPECT_EQ(with("blk.7.attn_v.weight", {2, 256}, 3),
            ": tensor \"blk.7.attn_v.weight\" has no place in a model of 1 blocks");
  EXPECT_EQ(with("blk.0.attn_v.weight", {2, 256}, 3),
            ": tensor \"blk.0.attn_v.weight\" stands there twice");
  EXPECT_EQ(
      with("rope_freqs.weight", {16}, 0),
      ": the factors in \"rope_freqs.weight\" are not those of Llama 3.1 for any context; use "
      "the safetensors checkpoint");
}

TEST(Gguf, GivesTheTensorsOfTheConvertedSmolLM2) {
  const char* model = std::getenv("SWAGE_TEST_MODEL");
  const std::string path =
      std::string(model == nullptr ? "" : model) + "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "SWAGE_TEST_MODEL holds no SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto golden = parse_json(read_text(test_data("gguf/goldens.json")), "goldens.json");
  const auto checkpoint = open_gguf(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  uint64_t total = 0;
  const auto names = (*checkpoint)->weights().names();
  for (const std::string& name : names) {
    total = total * 0x100000001B3 + digest<uint16_t>((*checkpoint)->weights().read(name).value());
  }
  EXPECT_EQ(static_cast<int64_t>(names.size()), (*golden)["smollm2"].i64("tensors", 0));
  EXPECT_EQ(hex(total), (*golden)["smollm2"].str("digest", ""));
  const auto files = (*checkpoint)->side_files();
  ASSERT_TRUE(files.ok()) << files.status();
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json"}) {
    const auto made = parse_json(content(*files, name), name);
    const auto converted = parse_json(read_text(std::string(model) + "/" + name), name);
    ASSERT_TRUE(made.ok() && converted.ok());
    EXPECT_TRUE(*made == *converted) << name;
  }
  Value config = (*parse_json(read_text(std::string(model) + "/config.json"), "config.json"));
  config.table()->erase("initializer_range");  // the converter's own addition
  EXPECT_EQ(to_json((*checkpoint)->config()), to_json(config));
}

}  // namespace
}  // namespace swage::io
