// The adapter of a described decoder.
#include "swage/nn/decoder.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

// Beyond every published model, and far from where sizes multiplied overflow.
constexpr int64_t kMostBlocks = 10000, kLargestSize = int64_t{1} << 24;
constexpr int64_t kLongestContext = int64_t{1} << 40;

int64_t limit_of(std::string_view key) {
  if (key == "num_hidden_layers") return kMostBlocks;
  return key == "max_position_embeddings" ? kLongestContext : kLargestSize;
}

absl::Status check_sizes(const DecoderDescription& d) {
  const std::pair<const char*, int64_t> sizes[] = {{"vocab_size", d.vocab_size},
                                                   {"hidden_size", d.hidden_size},
                                                   {"intermediate_size", d.intermediate_size},
                                                   {"num_hidden_layers", d.block_count},
                                                   {"num_attention_heads", d.heads},
                                                   {"num_key_value_heads", d.kv_heads},
                                                   {"head_dim", d.head_dim},
                                                   {"max_position_embeddings", d.context_length}};
  for (const auto& [key, value] : sizes) {
    if (value <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: ", key, " is ", value, ", expected a positive number"));
    }
    if (value > limit_of(key)) {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: ", key, " is ", value, ", expected at most ", limit_of(key)));
    }
  }
  if (d.heads % d.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: num_attention_heads ", d.heads,
                                                   " is no multiple of num_key_value_heads ",
                                                   d.kv_heads));
  }
  if (d.experts) {
    const Experts& e = *d.experts;
    const bool groups_fit = e.groups == 1 || e.active_groups <= e.groups;
    const bool fits = e.active >= 1 && e.groups >= 1 && e.count % e.groups == 0 &&
                      e.active_groups >= 1 && groups_fit && e.intermediate_size > 0 &&
                      e.count <= kLargestSize && e.intermediate_size <= kLargestSize &&
                      e.active <= e.count / e.groups * std::min(e.active_groups, e.groups);
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat(
          "config.json: ", e.active, " of ", e.count, " experts of ", e.intermediate_size,
          " channels, ", e.active_groups, " of ", e.groups, " groups: these sizes do not fit"));
    }
  }
  if (d.latent) {
    const std::pair<const char*, int64_t> parts[] = {{"kv_lora_rank", d.latent->latent_rank},
                                                     {"qk_nope_head_dim", d.latent->nope_dim},
                                                     {"qk_rope_head_dim", d.latent->rope_dim},
                                                     {"v_head_dim", d.latent->value_dim},
                                                     {"q_lora_rank", d.latent->query_rank}};
    for (const auto& [key, value] : parts) {
      const bool may_be_none = std::string_view(key) == "q_lora_rank";
      if (value >= (may_be_none ? 0 : 1) && value <= kLargestSize) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: ", key, " is ", value, ", expected 1 to ", kLargestSize));
    }
  }
  if (d.window < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: sliding_window is ", d.window, ", expected a positive number"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DecoderAdapter::open(const Value& config) {
  if (config.has("quantization_config")) {
    return absl::InvalidArgumentError(
        "config.json: quantization_config is set: the checkpoint is already quantized, "
        "start from the original one");
  }
  config_ = config;
  SWAGE_ASSIGN_OR_RETURN(description_, describe(config));
  SWAGE_RETURN_IF_ERROR(check_sizes(description_));
  // What only some blocks read is refused here and now, not when their turn comes.
  for (int64_t index = 0; index < description_.block_count; ++index) {
    DecoderDescription block = description_;
    SWAGE_RETURN_IF_ERROR(describe_block(config_, index, block));
  }
  shape_.towers = {{"language", description_.block_count}};
  shape_.hidden_size = description_.hidden_size;
  shape_.vocab_size = description_.vocab_size;
  shape_.context_length = description_.context_length;
  shape_.tied_embeddings = description_.tied_embeddings;
  shape_.head = description_.names.head + ".weight";
  shape_.embedding = description_.names.embedding + ".weight";
  return absl::OkStatus();
}

absl::Status DecoderAdapter::describe_block(const Value& config, int64_t index,
                                            DecoderDescription& description) const {
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Embedding>> DecoderAdapter::load_embedding(
    const std::string& tower, const WeightSource& source, const LoadOptions& options) {
  return load_decoder_embedding(description_, source, options);
}

absl::StatusOr<std::unique_ptr<Block>> DecoderAdapter::load_block(const BlockId& id,
                                                                  const WeightSource& source,
                                                                  const LoadOptions& options) {
  if (id.tower != "language" || id.index < 0 || id.index >= description_.block_count) {
    return absl::InvalidArgumentError(absl::StrCat("no block ", id.tower, " ", id.index,
                                                   ": the model has language 0 to ",
                                                   description_.block_count - 1));
  }
  DecoderDescription description = description_;
  SWAGE_RETURN_IF_ERROR(describe_block(config_, id.index, description));
  return load_decoder_block(description, id, source, options);
}

absl::StatusOr<std::unique_ptr<Head>> DecoderAdapter::load_head(const WeightSource& source,
                                                                const LoadOptions& options) {
  return load_decoder_head(description_, source, options);
}

}  // namespace swage::nn
