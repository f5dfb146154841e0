#include "names.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace swage::model_free {
namespace {

// As the manifest's `linears`.
constexpr const char* kEnds[] = {"_proj",
                                 ".w1",
                                 ".w2",
                                 ".w3",
                                 ".wq",
                                 ".wk",
                                 ".wv",
                                 ".wo",
                                 ".wqkv",
                                 ".fc1",
                                 ".fc2",
                                 ".fc_in",
                                 ".fc_out",
                                 ".c_attn",
                                 ".c_fc",
                                 ".c_proj",
                                 ".dense",
                                 ".dense_h_to_4h",
                                 ".dense_4h_to_h",
                                 ".query_key_value",
                                 ".qkv",
                                 ".proj_with_mqa"};
constexpr const char* kStacks[] = {"layers", "h", "blocks", "layer", "block"};
constexpr const char* kLayerCounts[] = {"num_hidden_layers", "n_layer", "num_layers", "n_layers"};
constexpr const char* kExpertCounts[] = {"n_routed_experts", "num_experts", "num_local_experts"};
// Tables of config.json in which the language model's own keys may lie.
constexpr const char* kTables[] = {"text_config", "llm_config", "language_config"};

int64_t count_in(const Value& config, const char* const* keys, size_t size) {
  const auto in = [&](const Value& table) -> int64_t {
    for (size_t i = 0; i < size; ++i)
      if (const int64_t* const count = table[keys[i]].integer()) return *count;
    return 0;
  };
  int64_t count = in(config);
  for (const char* table : kTables) count = std::max(count, in(config[table]));
  return count;
}

}  // namespace

int64_t layer_count(const Value& config) {
  return count_in(config, kLayerCounts, std::size(kLayerCounts));
}

int64_t expert_count(const Value& config) {
  return count_in(config, kExpertCounts, std::size(kExpertCounts));
}

int64_t vocabulary_size(const Value& config) {
  constexpr const char* kKeys[] = {"vocab_size"};
  return count_in(config, kKeys, 1);
}

bool is_linear(const std::string& module) {
  return std::any_of(std::begin(kEnds), std::end(kEnds),
                     [&](const char* end) { return absl::EndsWith(module, end); });
}

Place place_of(const std::string& module) {
  Place place;
  const std::vector<absl::string_view> parts = absl::StrSplit(module, '.');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    // Draft layers and towers number layers of their own.
    for (const char* other : {"vis", "audio", "encoder", "mtp"})
      if (place.layer < 0 && absl::StrContains(absl::AsciiStrToLower(parts[i]), other)) return {};
    int64_t number = -1;
    if (!absl::SimpleAtoi(parts[i + 1], &number)) continue;
    const bool stack =
        std::find(std::begin(kStacks), std::end(kStacks), parts[i]) != std::end(kStacks);
    if (stack && place.layer < 0) place.layer = number;
    if (parts[i] == "experts") place.expert = number;
  }
  return place;
}

}  // namespace swage::model_free
