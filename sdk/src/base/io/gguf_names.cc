#include "gguf_names.h"

#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr const char* kPrefix = "llama.";

const std::map<std::string, const char*, std::less<>>& block_parts() {
  static const std::map<std::string, const char*, std::less<>> table = {
      {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
      {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
      {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"}};
  return table;
}

absl::StatusOr<const Value*> required(const GgufFile& file, const std::string& key) {
  const Value& value = file.metadata[kPrefix + key];
  if (value.is_null())
    return absl::InvalidArgumentError(absl::StrCat("the key \"", kPrefix, key, "\" is missing"));
  return &value;
}

absl::StatusOr<int64_t> count(const GgufFile& file, const std::string& key) {
  SWAGE_RETURN_IF_ERROR(required(file, key).status());
  const int64_t value = file.metadata.i64(kPrefix + key, 0);
  if (value < 1 || value > int64_t{1} << 31) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", kPrefix, key, "\" is ", value, ", expected a count"));
  }
  return value;
}

absl::Status add_rope_scaling(const GgufFile& file, Value::Table* config) {
  const std::string prefix = std::string(kPrefix) + "rope.scaling.";
  const std::string type = file.metadata.str(prefix + "type", "none");
  Value& scaling = (*config)["rope_scaling"];
  if (type == "none") return absl::OkStatus();
  if (type != "linear" && type != "yarn") {
    return absl::UnimplementedError(
        absl::StrCat("rope scaling \"", type, "\" is not read, expected linear or yarn"));
  }
  scaling = Value::Table();
  (*scaling.table())["rope_type"] = type;
  (*scaling.table())["factor"] = file.metadata.f64(prefix + "factor", 1);
  const int64_t original = file.metadata.i64(prefix + "original_context_length", 0);
  if (original > 0) (*scaling.table())["original_max_position_embeddings"] = original;
  return absl::OkStatus();
}

const char* torch_dtype(StoredType storage) {
  return storage == StoredType::kF32   ? "float32"
         : storage == StoredType::kF16 ? "float16"
                                       : "bfloat16";
}

void add_special_ids(const GgufFile& file, Value::Table* config) {
  const auto copy = [&](const char* from, const char* to) {
    const Value& id = file.metadata[std::string("tokenizer.ggml.") + from];
    if (!id.is_null()) (*config)[to] = id;
  };
  copy("bos_token_id", "bos_token_id");
  copy("eos_token_id", "eos_token_id");
  copy("eos_token_id", "pad_token_id");
  copy("padding_token_id", "pad_token_id");
}

}  // namespace

absl::StatusOr<std::string> hugging_face_name(const std::string& name, int64_t blocks) {
  if (name == "token_embd.weight") return std::string("model.embed_tokens.weight");
  if (name == "output_norm.weight") return std::string("model.norm.weight");
  if (name == "output.weight") return std::string("lm_head.weight");
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  int64_t block = -1;
  if (parts.size() == 4 && parts[0] == "blk" && absl::SimpleAtoi(parts[1], &block) && block >= 0 &&
      block < blocks && parts[1] == absl::StrCat(block) &&
      (parts[3] == "weight" || parts[3] == "bias")) {
    const auto part = block_parts().find(parts[2]);
    if (part != block_parts().end()) {
      return absl::StrCat("model.layers.", block, ".", part->second, ".", parts[3]);
    }
  }
  if (name == "rope_freqs.weight") {
    return absl::UnimplementedError(
        "tensor \"rope_freqs.weight\": the rope scaling of Llama 3.1 is not read from GGUF; use "
        "the safetensors checkpoint");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", name, "\" has no place in a llama model of ", blocks, " blocks"));
}

absl::StatusOr<Value> make_config(const GgufFile& file) {
  SWAGE_ASSIGN_OR_RETURN(const int64_t hidden, count(file, "embedding_length"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t intermediate, count(file, "feed_forward_length"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t blocks, count(file, "block_count"));
  if (blocks > static_cast<int64_t>(file.tensors.size())) {
    return absl::InvalidArgumentError(absl::StrCat("the key \"llama.block_count\" is ", blocks,
                                                   ", but there are ", file.tensors.size(),
                                                   " tensors: the file is damaged"));
  }
  SWAGE_ASSIGN_OR_RETURN(const int64_t heads, count(file, "attention.head_count"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t context, count(file, "context_length"));
  SWAGE_RETURN_IF_ERROR(required(file, "attention.layer_norm_rms_epsilon").status());
  const auto embedding = file.tensors.find("model.embed_tokens.weight");
  if (embedding == file.tensors.end())
    return absl::InvalidArgumentError("the tensor \"token_embd.weight\" is missing");
  if (file.metadata.i64("llama.expert_count", 0) > 0) {
    return absl::UnimplementedError(
        "a mixture of experts is not read from GGUF; use the safetensors checkpoint");
  }
  Value::Table config = {
      {"architectures", Value::List{"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"hidden_act", "silu"},
      {"torch_dtype", torch_dtype(file.storage)},
      {"hidden_size", hidden},
      {"intermediate_size", intermediate},
      {"num_hidden_layers", blocks},
      {"num_attention_heads", heads},
      {"num_key_value_heads", file.metadata.i64("llama.attention.head_count_kv", heads)},
      {"rms_norm_eps", file.metadata.f64("llama.attention.layer_norm_rms_epsilon", 0)},
      {"rope_theta", file.metadata.f64("llama.rope.freq_base", 10000.0)},
      {"max_position_embeddings", context},
      {"vocab_size", embedding->second.shape[0]},
      {"attention_bias", file.tensors.count("model.layers.0.self_attn.q_proj.bias") > 0},
      {"mlp_bias", file.tensors.count("model.layers.0.mlp.gate_proj.bias") > 0},
      {"tie_word_embeddings", file.tensors.count("lm_head.weight") == 0}};
  const int64_t head_size = file.metadata.i64("llama.attention.key_length", hidden / heads);
  if (head_size * heads != hidden) config["head_dim"] = head_size;
  add_special_ids(file, &config);
  SWAGE_RETURN_IF_ERROR(add_rope_scaling(file, &config));
  return Value(std::move(config));
}

}  // namespace swage::io
