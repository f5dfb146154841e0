#include "core/engine/mix_plan.h"

#include <algorithm>

#include "core/engine/codec_book.h"
#include "core/engine/config_keys.h"
#include "swage/status.h"

namespace swage {
namespace {

MixModel facts_of(const OpenedModel& model) {
  const Value& whole = model.export_config();
  const std::string& key = model.language_key();
  const Value& config = key.empty() || !whole.has(key) ? whole : whole[key];
  MixModel facts;
  const auto towers = model.shape().towers;
  facts.layers = towers.empty() ? 0 : towers.back().block_count;
  const int64_t heads = first_of(config, {"num_attention_heads", "n_head", "num_heads"});
  const int64_t kv = first_of(config, {"num_key_value_heads", "num_kv_heads", "n_head_kv"});
  if (heads > 0 && kv > 0) facts.heads_per_kv = heads / kv;
  facts.experts = first_of(config, {"num_local_experts", "num_experts", "n_routed_experts"});
  facts.tied = model.shape().tied_embeddings;
  return facts;
}

// The format, or the one in its place where its blocks do not cut the width.
absl::StatusOr<Scheme> fitting(const Step& step, std::string format, int64_t in) {
  while (true) {
    const Scheme& scheme = step.mix_schemes.at(format);
    SWAGE_ASSIGN_OR_RETURN(const auto codec, codec_of(scheme));
    const auto other = step.mix->fallback.find(format);
    if (in % codec->column_multiple() == 0 || other == step.mix->fallback.end()) return scheme;
    format = other->second;
  }
}

}  // namespace

absl::Status plan_mixes(const OpenedModel& model, Pipeline* pipeline) {
  const MixModel facts = facts_of(model);
  for (Step& step : pipeline->steps) {
    if (step.mix == nullptr) continue;
    const auto plan = [&](const ModelOutline::Linear& linear, MixPlace place) -> absl::Status {
      if (!takes(step, linear.name)) return absl::OkStatus();
      auto scheme = fitting(step, step.mix->format_of(facts, linear.name, place), linear.in);
      if (!scheme.ok()) return annotate(scheme.status(), step.mix->file);
      step.mixed[linear.name] = *std::move(scheme);
      return absl::OkStatus();
    };
    for (const ModelOutline::Linear& linear : model.outline().linears)
      SWAGE_RETURN_IF_ERROR(plan(linear, MixPlace::kBlock));
    for (const ModelOutline::Linear& end : model.outline().ends) {
      const MixPlace place = end.name == step.head ? MixPlace::kHead : MixPlace::kEmbedding;
      SWAGE_RETURN_IF_ERROR(plan(end, place));
    }
  }
  return absl::OkStatus();
}

}  // namespace swage
