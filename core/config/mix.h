#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace swage {

// What of a model decides about the formats of a mix.
struct MixModel {
  int64_t layers = 0;
  int64_t heads_per_kv = 1;  // heads of queries that share one of keys and values
  int64_t experts = 0;       // 0: none
  bool tied = false;         // the head reads the embedding's matrix
};

enum class MixPlace { kBlock, kEmbedding, kHead };

// Linears of a block that take another format than most: the first rule that fits a linear counts.
struct MixRule {
  std::vector<std::string> match;  // globs over names of linears
  std::string format;
  int64_t first = 0;         // of the first so many layers only; 0: of all
  int64_t first_part = 0;    // of the first layers / first_part layers only
  bool outer = false;        // of the first and last eighth, and every third layer between
  int64_t heads_per_kv = 0;  // only where at least so many heads share keys and values
  int64_t experts = 0;       // only where there are exactly so many experts

  bool fits(const MixModel& model, std::string_view linear) const;
};

// Several number formats for one model, as `weight = { mix = "q4_k_m" }` names them: a file
// <name>.mix.toml (docs/quantization.md).
struct Mix {
  std::string name, file, text, summary;  // text: of the file
  std::string format;                     // of linears that no rule names
  std::string head, embedding;            // "" as any linear
  std::vector<MixRule> rules;
  // Where a format's blocks do not cut the width of a linear, the format in its place.
  std::map<std::string, std::string> fallback;

  // The format of a linear, whatever its width.
  const std::string& format_of(const MixModel& model, std::string_view linear,
                               MixPlace place) const;
  // All formats that it may choose, each once.
  std::vector<std::string> formats() const;
};

// Errors name file:line:column.
absl::StatusOr<Mix> parse_mix(std::string_view toml, const std::string& name,
                              const std::string& origin);

// The number of the layer in a linear's name: the first number in it; -1: none.
int64_t layer_of(std::string_view linear);

}  // namespace swage
