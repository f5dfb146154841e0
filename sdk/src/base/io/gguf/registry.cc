#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "architecture.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;

absl::Status nothing_for(const std::string& what) {
  std::vector<std::string> names;
  for (const Architecture& architecture : architectures()) names.push_back(architecture.name);
  return absl::UnimplementedError(absl::StrCat("no GGUF architecture is known for ", what,
                                               "; those that are: ", absl::StrJoin(names, ", ")));
}

Value completed(const Architecture& architecture, const Family& family, const Value& config) {
  Value result = config;
  Value::Table& table = *result.table();
  for (const Alias& alias : architecture.aliases) {
    if (config.has(alias.alias) && !config.has(alias.standard))
      table[alias.standard] = config[alias.alias];
  }
  const absl::StatusOr<Value> defaults = parse_json(family.defaults, "defaults");
  SWAGE_CHECK(defaults.ok() && defaults->table() != nullptr);
  for (const auto& [key, value] : *defaults->table()) table.emplace(key, value);
  if (architecture.prepare != nullptr) architecture.prepare(&table);
  return result;
}

absl::StatusOr<int64_t> positive(const Value& config, const char* key) {
  const int64_t value = config.i64(key, 0);
  if (value >= 1 && value < kMost) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("config.json: ", key, " is ", value, ", expected a count"));
}

}  // namespace

Names& operator+=(Names& names, const std::vector<Name>& more) {
  names.all.insert(names.all.end(), more.begin(), more.end());
  return names;
}

absl::Status refuse(const std::string& what) {
  return absl::UnimplementedError(absl::StrCat("config.json: ", what));
}

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = [] {
    std::vector<Architecture> list;
    for (auto part : {llama_like, qwen_like, gemma_like, phi_like, layer_norm_like, post_norm_like,
                      deepseek_like}) {
      for (Architecture& architecture : part()) list.push_back(std::move(architecture));
    }
    return list;
  }();
  return all;
}

absl::StatusOr<Found> find(const Value& config) {
  if (config.table() == nullptr) return absl::InvalidArgumentError("config.json holds no object");
  const Value::List* classes = config["architectures"].list();
  const std::string name =
      classes != nullptr && !classes->empty() && classes->front().text() != nullptr
          ? *classes->front().text()
          : "";
  const std::string type = config.str("model_type", "");
  for (const Architecture& architecture : architectures()) {
    for (const Family& family : architecture.families) {
      if (name.empty() ? type != family.model_type : name != family.architecture) continue;
      return Found{&architecture, &family, completed(architecture, family, config)};
    }
  }
  if (config.has("text_config") || config.has("vision_config")) {
    return absl::UnimplementedError(absl::StrCat(
        "a model that reads images (", name.empty() ? type : name,
        ") is two GGUF files, the language model and its projector, which are not written"));
  }
  return nothing_for(absl::StrCat("\"", name.empty() ? type : name, "\""));
}

absl::StatusOr<Sizes> sizes_of(const Value& config) {
  Sizes sizes;
  SWAGE_ASSIGN_OR_RETURN(sizes.blocks, positive(config, "num_hidden_layers"));
  SWAGE_ASSIGN_OR_RETURN(sizes.hidden, positive(config, "hidden_size"));
  SWAGE_ASSIGN_OR_RETURN(sizes.heads, positive(config, "num_attention_heads"));
  sizes.kv_heads = config.i64("num_key_value_heads", sizes.heads);
  if (sizes.kv_heads < 1 || sizes.heads % sizes.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: num_key_value_heads ",
                                                   sizes.kv_heads, " does not divide ", sizes.heads,
                                                   " heads"));
  }
  sizes.head_dim = config.i64("head_dim", sizes.hidden / sizes.heads);
  if (sizes.head_dim < 1 || sizes.head_dim >= kMost)
    return absl::InvalidArgumentError(absl::StrCat("config.json: head_dim ", sizes.head_dim));
  return sizes;
}

Names llama_names(bool interleaved, int attention, int mlp) {
  const Move query = interleaved ? Move::kQuery : Move::kNone;
  const Move key = interleaved ? Move::kKey : Move::kNone;
  Names names;
  names += {{"token_embd", "model.embed_tokens"},
            {"output_norm", "model.norm"},
            {"output", "lm_head"},
            {".attn_norm", ".input_layernorm"},
            {".attn_q", ".self_attn.q_proj", query, attention},
            {".attn_k", ".self_attn.k_proj", key, attention},
            {".attn_v", ".self_attn.v_proj", Move::kNone, attention},
            {".attn_output", ".self_attn.o_proj", Move::kNone, attention},
            {".ffn_norm", ".post_attention_layernorm"},
            {".ffn_gate", ".mlp.gate_proj", Move::kNone, mlp},
            {".ffn_up", ".mlp.up_proj", Move::kNone, mlp},
            {".ffn_down", ".mlp.down_proj", Move::kNone, mlp}};
  return names;
}

Names& add_experts(Names& names, const std::string& experts, const std::string& gate,
                   const std::string& up, const std::string& down) {
  const std::string prefix = experts + ".*.";
  return names += {{".ffn_gate_exps", prefix + gate, Move::kStack},
                   {".ffn_up_exps", prefix + up, Move::kStack},
                   {".ffn_down_exps", prefix + down, Move::kStack}};
}

absl::Status expect_activation(const Value& config, const std::vector<std::string>& names,
                               const char* key) {
  const std::string name = config.str(key, names.front());
  if (std::find(names.begin(), names.end(), name) != names.end()) return absl::OkStatus();
  return refuse(absl::StrCat(key, " is \"", name, "\"; llama.cpp computes ", names.front(),
                             " in this family"));
}

absl::Status expect_flag(const Value& config, const char* key, bool expected, bool fallback) {
  if (config.flag(key, fallback) == expected) return absl::OkStatus();
  return refuse(absl::StrCat(key, " is ", expected ? "false" : "true", "; llama.cpp computes ",
                             expected ? "true" : "false", " in this family"));
}

absl::StatusOr<int64_t> window_period(const Value& config, int64_t fallback) {
  const int64_t blocks = config.i64("num_hidden_layers", 0);
  const Value::List* types = config["layer_types"].list();
  if (types == nullptr) return fallback;
  int64_t period = 0;
  const auto slides = [&](int64_t block) {
    const std::string* type = (*types)[static_cast<size_t>(block)].text();
    return type != nullptr && *type == "sliding_attention";
  };
  if (static_cast<int64_t>(types->size()) != blocks)
    return absl::InvalidArgumentError("config.json: layer_types needs a word for every layer");
  for (int64_t block = 0; block < blocks && period == 0; ++block) {
    if (!slides(block)) period = block + 1;
  }
  if (period == 0) return std::max(fallback, blocks + 1);
  for (int64_t block = 0; block < blocks; ++block) {
    if (slides(block) == ((block + 1) % period == 0)) {
      return refuse(
          "layer_types is no regular pattern; llama.cpp reads \"every n-th layer attends to all\"");
    }
  }
  return period;
}

}  // namespace swage::io::gguf
