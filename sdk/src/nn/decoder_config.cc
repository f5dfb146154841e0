// What most families say in config.json under the same keys.
#include <algorithm>

#include "swage/nn/decoder.h"
#include "swage/status.h"

namespace swage::nn {

bool stated(const Value& config, std::string_view key) {
  return config.table() != nullptr && config.table()->count(key) > 0;
}

Value renamed(const Value& config, const std::vector<std::pair<std::string, std::string>>& keys) {
  Value result = config;
  if (result.table() == nullptr) return result;
  for (const auto& [from, to] : keys) {
    if (stated(config, from) && !stated(config, to)) (*result.table())[to] = config[from];
  }
  return result;
}

Value defaulted(const Value& config, const std::string& key, Value value) {
  Value result = config;
  if (result.table() != nullptr && !config.has(key) && !config["rope_parameters"].has(key))
    (*result.table())[key] = std::move(value);
  return result;
}

absl::StatusOr<std::string> family_of(const Value& config, const Families& families) {
  const std::string* const type = config["model_type"].text();
  const auto typed = std::find_if(families.begin(), families.end(), [&](const auto& family) {
    return type != nullptr && *type == family.second;
  });
  const Value::List* const stated = config["architectures"].list();
  for (const Value& item : stated != nullptr ? *stated : Value::List()) {
    const auto named = std::find_if(families.begin(), families.end(), [&](const auto& family) {
      return item.text() != nullptr && *item.text() == family.first;
    });
    if (named == families.end()) continue;
    if (typed == families.end() || typed->second == std::string_view(named->second))
      return named->second;
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: architectures says ", named->first, ", a \"", named->second,
                     "\", but model_type is \"", *type, "\": one of them is wrong"));
  }
  return typed != families.end() ? typed->second : families.front().second;
}

absl::Status read_decoder(const Value& config, DecoderDescription& d, double theta) {
  d.vocab_size = config.i64("vocab_size", d.vocab_size);
  d.hidden_size = config.i64("hidden_size", d.hidden_size);
  d.intermediate_size = config.i64("intermediate_size", d.intermediate_size);
  d.block_count = config.i64("num_hidden_layers", d.block_count);
  d.context_length = config.i64("max_position_embeddings", d.context_length);
  d.heads = config.i64("num_attention_heads", d.heads);
  const bool grouped = d.kv_heads > 0 && !stated(config, "num_key_value_heads");
  d.kv_heads = config.i64("num_key_value_heads", grouped ? d.kv_heads : d.heads);
  if (d.head_dim == 0 && !config.has("head_dim") && d.heads > 0) {
    if (d.hidden_size % d.heads != 0) {
      return absl::InvalidArgumentError(absl::StrCat("config.json: hidden_size ", d.hidden_size,
                                                     " is no multiple of num_attention_heads ",
                                                     d.heads, " and there is no head_dim"));
    }
    d.head_dim = d.hidden_size / d.heads;
  }
  d.head_dim = config.i64("head_dim", d.head_dim);
  d.norm_eps = config.f64(subtracts_mean(d.norm) ? "layer_norm_eps" : "rms_norm_eps", d.norm_eps);
  d.tied_embeddings = config.flag("tie_word_embeddings", d.tied_embeddings);
  if (config.has("hidden_act")) {
    SWAGE_ASSIGN_OR_RETURN(d.activation, parse_activation(config.str("hidden_act", "")));
  }
  if (d.head_dim <= 0) return absl::OkStatus();  // open() names the size that is wrong
  SWAGE_ASSIGN_OR_RETURN(auto rope,
                         read_rope(config, d.head_dim, d.context_length, theta, d.rotary_share));
  d.rope = std::make_shared<const Rope>(std::move(rope));
  return absl::OkStatus();
}

DecoderDescription as_stored(const DecoderDescription& description, const WeightSource& source) {
  DecoderDescription result = description;
  DecoderDescription::Names& names = result.names;
  const auto has = [&](const std::string& module) { return source.has(module + ".weight"); };
  if (names.prefix.empty() || has(names.embedding)) return result;
  const auto bare = [&](const std::string& name) {
    return name.rfind(names.prefix, 0) == 0 ? name.substr(names.prefix.size()) : name;
  };
  // A tied file may hold the table as the head alone.
  const bool is_bare =
      has(bare(names.embedding)) ||
      (description.tied_embeddings && !names.final_norm.empty() && has(bare(names.final_norm)));
  if (!is_bare) return result;  // the reader names what is missing
  for (std::string* name :
       {&names.embedding, &names.blocks, &names.final_norm, &names.embedding_norm, &names.positions,
        &names.project_in, &names.project_out}) {
    *name = bare(*name);
  }
  return result;
}

std::string table_name(const DecoderDescription& d, const WeightSource& source) {
  const std::string table = d.names.embedding + ".weight", head = d.names.head + ".weight";
  return d.tied_embeddings && !source.has(table) && source.has(head) ? head : table;
}

int64_t window_size(const Value& config, int64_t fallback) {
  return config.i64("sliding_window", stated(config, "sliding_window") ? 0 : fallback);
}

absl::StatusOr<int64_t> read_window(const Value& config, int64_t block_count, int64_t index,
                                    int64_t window, bool slides) {
  if (!config.has("layer_types")) return slides ? window : 0;
  const Value::List* types = config["layer_types"].list();
  if (types == nullptr || static_cast<int64_t>(types->size()) != block_count) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: layer_types must be a list of ",
                                                   block_count, " words, one for every layer"));
  }
  const Value& type = (*types)[static_cast<size_t>(index)];
  const std::string word = type.text() != nullptr ? *type.text() : type.type_name();
  if (word == "full_attention") return 0;
  if (word != "sliding_attention") {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: layer_types holds \"", word,
                     "\"; \"full_attention\" and \"sliding_attention\" are supported"));
  }
  if (window > 0) return window;
  return absl::InvalidArgumentError(
      "config.json: layer_types asks for sliding_attention, but sliding_window is not set");
}

}  // namespace swage::nn
