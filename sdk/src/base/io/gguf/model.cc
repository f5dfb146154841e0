// Metadata of a config.json and back.
#include <algorithm>
#include <optional>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io {

using gguf::Architecture;
using gguf::Found;
using gguf::KeyWriter;
using gguf::Metadata;
using gguf::Sizes;

namespace {

bool rms(const Architecture& architecture) {
  return std::string(architecture.epsilon) == "rms_norm_eps";
}

// The narrowest window that any block has; 0: none.
int64_t window_of(const Value& config, int64_t blocks) {
  const int64_t window = config.i64("sliding_window", 0);
  if (const Value::List* types = config["layer_types"].list()) {
    const auto slides = [](const Value& type) {
      return type.text() != nullptr && *type.text() == "sliding_attention";
    };
    return std::any_of(types->begin(), types->end(), slides) ? window : 0;
  }
  if (!config.flag("use_sliding_window", true)) return 0;
  return config.i64("max_window_layers", 0) >= blocks ? 0 : window;
}

// Where a graph knows no windows, the file's context ends where the first window would.
int64_t context_of(const Architecture& architecture, const Value& config, int64_t blocks) {
  const int64_t context = config.i64("max_position_embeddings", 2048);
  const int64_t window = architecture.windows ? 0 : window_of(config, blocks);
  return window > 0 ? std::min(window, context) : context;
}

// What then is said nowhere else: a key of Swage's own, JSON. Within the file's context windows
// change nothing, so that other readers need not know.
constexpr const char* kWindows = "swage.windows";
constexpr const char* kWindowKeys[] = {
    "architectures",  "model_type",        "max_position_embeddings",
    "sliding_window", "max_window_layers", "use_sliding_window",
    "layer_types"};

std::optional<GgufKey> windows_key(const Architecture& architecture, const Value& config,
                                   int64_t blocks) {
  if (context_of(architecture, config, blocks) == config.i64("max_position_embeddings", 2048))
    return std::nullopt;
  Value::Table said;
  for (const char* key : kWindowKeys)
    if (config.has(key)) said[key] = config[key];
  return GgufKey{kWindows, GgufType::kText, to_json(Value(std::move(said)), -1)};
}

absl::Status read_windows(const Architecture& architecture, const Metadata& metadata,
                          Value::Table* config) {
  const std::string* const text = metadata.contents().metadata[kWindows].text();
  if (text == nullptr) return absl::OkStatus();
  const int64_t context = Value(*config).i64("max_position_embeddings", 0);
  SWAGE_ASSIGN_OR_RETURN(const Value said, parse_json(*text, kWindows));
  for (const char* key : kWindowKeys)
    if (said.has(key)) (*config)[key] = said[key];
  const int64_t cut =
      context_of(architecture, Value(*config), Value(*config).i64("num_hidden_layers", 0));
  if (cut == context) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the context is ", context, ", but \"", kWindows,
                                                 "\" says windows of ", cut,
                                                 ": the file is damaged"));
}

absl::Status check_sizes(const Architecture& architecture, const Sizes& sizes) {
  if (architecture.free_head_dim || sizes.head_dim * sizes.heads == sizes.hidden)
    return absl::OkStatus();
  return gguf::refuse(absl::StrCat(sizes.heads, " heads of ", sizes.head_dim,
                                   " channels are not hidden_size ", sizes.hidden,
                                   ", which llama.cpp's \"", architecture.name, "\" needs"));
}

absl::StatusOr<Found> checked(const Value& config) {
  SWAGE_ASSIGN_OR_RETURN(Found found, gguf::find(config));
  const Architecture& architecture = *found.architecture;
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, gguf::sizes_of(found.config));
  SWAGE_RETURN_IF_ERROR(check_sizes(architecture, sizes));
  if (architecture.check != nullptr) SWAGE_RETURN_IF_ERROR(architecture.check(found.config));
  KeyWriter trial(architecture.name);
  SWAGE_RETURN_IF_ERROR(gguf::write_rotation(architecture, found.config, sizes, &trial));
  return found;
}

void write_sizes(const Found& found, const Sizes& sizes, const TensorShapes& tensors,
                 KeyWriter* keys) {
  const Value& config = found.config;
  keys->count("block_count", sizes.blocks);
  keys->count("context_length", context_of(*found.architecture, config, sizes.blocks));
  keys->count("embedding_length", sizes.hidden);
  keys->count("feed_forward_length", config.i64("intermediate_size", 4 * sizes.hidden));
  keys->count("attention.head_count", sizes.heads);
  keys->count("attention.head_count_kv", sizes.kv_heads);
  if (sizes.head_dim * sizes.heads != sizes.hidden) {
    keys->count("attention.key_length", sizes.head_dim);
    keys->count("attention.value_length", sizes.head_dim);
  }
  const Architecture& architecture = *found.architecture;
  keys->number(
      rms(architecture) ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
      config.f64(architecture.epsilon, 1e-5));
  for (const auto& name : architecture.names(config).all) {
    if (name.gguf != "token_embd") continue;
    const auto table = tensors.find(name.hugging_face + ".weight");
    if (table != tensors.end()) keys->count("vocab_size", table->second[0]);
  }
}

absl::Status read_sizes(const Architecture& architecture, const Metadata& metadata,
                        Value::Table* config) {
  const TensorShapes& tensors = metadata.contents().tensors;
  const auto embedding = tensors.find("token_embd.weight");
  if (embedding == tensors.end())
    return absl::InvalidArgumentError("the tensor \"token_embd.weight\" is missing");
  (*config)["vocab_size"] = embedding->second[0];
  SWAGE_ASSIGN_OR_RETURN(const int64_t blocks, metadata.count("block_count"));
  if (blocks > static_cast<int64_t>(tensors.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key \"", architecture.name, ".block_count\" is ", blocks,
                     ", but there are ", tensors.size(), " tensors: the file is damaged"));
  }
  (*config)["num_hidden_layers"] = blocks;
  SWAGE_ASSIGN_OR_RETURN(const int64_t hidden, metadata.count("embedding_length"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t heads, metadata.count("attention.head_count"));
  (*config)["hidden_size"] = hidden;
  (*config)["num_attention_heads"] = heads;
  (*config)["num_key_value_heads"] = metadata.count("attention.head_count_kv", heads);
  SWAGE_ASSIGN_OR_RETURN((*config)["intermediate_size"], metadata.count("feed_forward_length"));
  SWAGE_ASSIGN_OR_RETURN((*config)["max_position_embeddings"], metadata.count("context_length"));
  SWAGE_ASSIGN_OR_RETURN((*config)[architecture.epsilon],
                         metadata.number(rms(architecture) ? "attention.layer_norm_rms_epsilon"
                                                           : "attention.layer_norm_epsilon"));
  const int64_t head_dim = metadata.count("attention.key_length", hidden / heads);
  if (head_dim * heads != hidden) (*config)["head_dim"] = head_dim;
  if (head_dim < 1)
    return absl::InvalidArgumentError(absl::StrCat("a head of ", head_dim, " channels"));
  return gguf::read_rotation(architecture, metadata, head_dim, config);
}

void read_key(const gguf::Key& key, const Metadata& metadata, Value::Table* config) {
  if (!metadata.has(key.gguf)) {
    if (!key.absent.is_null()) (*config)[key.config] = key.absent;
    return;
  }
  switch (key.type) {
    case GgufType::kF32:
      (*config)[key.config] = metadata.number(key.gguf, 0.0);
      break;
    case GgufType::kBool:
      (*config)[key.config] = metadata.flag(key.gguf, false);
      break;
    case GgufType::kText:
      (*config)[key.config] = metadata.text(key.gguf, "");
      break;
    default:
      (*config)[key.config] = metadata.count(key.gguf, int64_t{0});
  }
}

void add_special_ids(const Value& metadata, Value::Table* config) {
  const auto copy = [&](const char* from, const char* to) {
    const Value& id = metadata[std::string("tokenizer.ggml.") + from];
    if (!id.is_null()) (*config)[to] = id;
  };
  copy("bos_token_id", "bos_token_id");
  copy("eos_token_id", "eos_token_id");
  copy("eos_token_id", "pad_token_id");
  copy("padding_token_id", "pad_token_id");
}

absl::StatusOr<const Architecture*> architecture_of(const Value& metadata) {
  const std::string name = metadata.str("general.architecture", "");
  std::string known;
  for (const Architecture& architecture : gguf::architectures()) {
    if (name == architecture.name) return &architecture;
    absl::StrAppend(&known, known.empty() ? "" : ", ", architecture.name);
  }
  return absl::UnimplementedError(absl::StrCat(
      "the architecture is \"", name, "\", which is not read from GGUF; those that are: ", known));
}

}  // namespace

absl::StatusOr<std::string> gguf_architecture(const Value& config) {
  SWAGE_ASSIGN_OR_RETURN(const Found found, checked(config));
  return std::string(found.architecture->name);
}

absl::StatusOr<std::vector<GgufKey>> gguf_keys(const Value& config, const TensorShapes& tensors) {
  SWAGE_ASSIGN_OR_RETURN(const Found found, checked(config));
  const Architecture& architecture = *found.architecture;
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, gguf::sizes_of(found.config));
  KeyWriter keys(architecture.name);
  write_sizes(found, sizes, tensors, &keys);
  SWAGE_RETURN_IF_ERROR(gguf::write_rotation(architecture, found.config, sizes, &keys));
  for (const gguf::Key& key : architecture.keys) {
    if (found.config.has(key.config)) keys.add(key.gguf, key.type, found.config[key.config]);
  }
  if (architecture.write != nullptr) SWAGE_RETURN_IF_ERROR(architecture.write(found.config, &keys));
  std::vector<GgufKey> result = {
      {"general.architecture", GgufType::kText, std::string(architecture.name)}};
  if (auto windows = windows_key(architecture, found.config, sizes.blocks))
    result.push_back(*std::move(windows));
  // What a family says itself counts, where it says it last.
  for (GgufKey& key : keys.take()) {
    const auto same = std::find_if(result.begin(), result.end(),
                                   [&](const GgufKey& other) { return other.name == key.name; });
    if (same == result.end()) {
      result.push_back(std::move(key));
    } else {
      *same = std::move(key);
    }
  }
  return result;
}

absl::StatusOr<Value> config_of_gguf(const GgufContents& contents) {
  SWAGE_ASSIGN_OR_RETURN(const Architecture* own, architecture_of(contents.metadata));
  const Architecture* made = own;
  for (const Architecture& other : gguf::architectures()) {
    if (own->read_as != nullptr && std::string(own->read_as) == other.name) made = &other;
  }
  const Metadata metadata(contents, own->name);
  const gguf::Family& family = made->families.front();
  Value::Table config = {{"architectures", Value::List{family.architecture}},
                         {"model_type", family.model_type}};
  SWAGE_RETURN_IF_ERROR(read_sizes(*own, metadata, &config));
  for (const gguf::Key& key : own->keys) read_key(key, metadata, &config);
  config["tie_word_embeddings"] = contents.tensors.count("output.weight") == 0;
  if (own->read != nullptr) SWAGE_RETURN_IF_ERROR(own->read(metadata, &config));
  SWAGE_RETURN_IF_ERROR(read_windows(*own, metadata, &config));
  for (const gguf::Alias& alias : made->aliases) {
    const auto standard = config.find(alias.standard);
    if (!alias.written || standard == config.end()) continue;
    config[alias.alias] = standard->second;
    config.erase(alias.standard);
  }
  add_special_ids(contents.metadata, &config);
  return Value(std::move(config));
}

}  // namespace swage::io
