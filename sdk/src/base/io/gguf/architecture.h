#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/gguf_architecture.h"

// The tables of the architectures of llama.cpp and what reads them.
namespace swage::io::gguf {

// How rows change places between a Hugging Face checkpoint and GGUF.
enum class Move {
  kNone,
  kQuery,        // llama.cpp rotates neighbours: the halves of each head are interleaved
  kKey,          // the same with the heads of keys
  kStack,        // one tensor for every number that stands for "*" (experts, heads), stacked
  kGroups,       // q, k and v key head by key head -> all of q, all of k, all of v
  kGroupsQuery,  // cut out of such a tensor, halves interleaved
  kGroupsKey,
  kGroupsValue,
  kLatentKey,    // rows of keys out of DeepSeek's kv_b, each head transposed
  kLatentValue,  // rows of values
};

constexpr int kWeight = 1, kBias = 2;  // suffixes that llama.cpp has a place for
constexpr int kWhole = 4;              // Hugging Face's name has no suffix, GGUF's is "bias"

// A module, or a tensor. Names that begin with a dot lie in every block.
struct Name {
  std::string gguf, hugging_face;
  Move move = Move::kNone;
  int suffixes = kWeight;
  double added = 0;  // to the weight
};

struct Names {
  std::string blocks = "model.layers";
  std::vector<Name> all;
};
Names& operator+=(Names& names, const std::vector<Name>& more);

// A key of config.json that is a key of the metadata as it is.
struct Key {
  const char* gguf;
  GgufType type;
  const char* config;
  Value absent =
      {};  // what llama.cpp takes where the metadata lacks it; null: nothing is said then
};

// config.json calls `standard` so; `written`: a config.json made here does too.
struct Alias {
  const char* alias;
  const char* standard;
  bool written = false;
};

struct Family {
  const char* architecture;  // "LlamaForCausalLM"
  const char* model_type;
  const char* defaults;  // of keys that its config.json may leave out, as JSON
};

class KeyWriter;
class Metadata;

struct Architecture {
  const char* name = "";
  std::vector<Family> families = {};  // a config.json that is made here is of the first one
  std::vector<Alias> aliases = {};
  const char* epsilon = "rms_norm_eps";  // "rms_norm_eps" or "layer_norm_eps"
  const char* rotary =
      "";  // scaled rotations that its graph knows, of "linear yarn llama3 longrope"
  bool free_head_dim = true;  // heads times their width may differ from hidden_size
  bool head = true;           // it has a place for a head of its own
  bool needs_head = false;    // it reads no head from the embedding
  bool windows = false;       // its graph knows sliding windows
  bool partial_rotation = false;
  bool rotates = true;
  Names (*names)(const Value& config) = nullptr;
  std::vector<Key> keys = {};
  // Completes what one key says through another.
  void (*prepare)(Value::Table* config) = nullptr;
  // Why llama.cpp computes something else. `config` is complete: standard names, defaults.
  absl::Status (*check)(const Value& config) = nullptr;
  absl::Status (*write)(const Value& config, KeyWriter* keys) = nullptr;
  absl::Status (*read)(const Metadata& metadata, Value::Table* config) = nullptr;
  // The architecture whose config.json and names a file of this one gets.
  const char* read_as = nullptr;
};

const std::vector<Architecture>& architectures();
// Parts of that list.
std::vector<Architecture> llama_like();
std::vector<Architecture> qwen_like();
std::vector<Architecture> gemma_like();
std::vector<Architecture> phi_like();
std::vector<Architecture> layer_norm_like();
std::vector<Architecture> post_norm_like();
std::vector<Architecture> deepseek_like();

// The architecture of config.json and the configuration with standard names and defaults.
struct Found {
  const Architecture* architecture = nullptr;
  const Family* family = nullptr;
  Value config;
};
absl::StatusOr<Found> find(const Value& config);

struct Sizes {
  int64_t blocks = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0;
};
absl::StatusOr<Sizes> sizes_of(const Value& config);

// Names that many architectures share.
Names llama_names(bool interleaved, int attention_suffixes, int mlp_suffixes);
Names& add_experts(Names& names, const std::string& experts, const std::string& gate,
                   const std::string& up, const std::string& down);

absl::Status refuse(const std::string& what);  // Unimplemented
absl::Status expect_flag(const Value& config, const char* key, bool expected, bool fallback);
// hidden_act (or `key`) must be one of `names`.
absl::Status expect_activation(const Value& config, const std::vector<std::string>& names,
                               const char* key = "hidden_act");
// Every `period`-th block attends to all, the others to a window; or none does.
absl::StatusOr<int64_t> window_period(const Value& config, int64_t fallback);

}  // namespace swage::io::gguf
