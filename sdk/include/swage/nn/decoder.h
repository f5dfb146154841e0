#pragma once
#include <memory>
#include <string>

#include "swage/model.h"
#include "swage/nn/activation.h"
#include "swage/nn/norm.h"
#include "swage/nn/rope.h"

namespace swage::nn {

// A pre-norm decoder as data: names of its modules, sizes and switches. An adapter fills one in
// from config.json and hands it to DecoderAdapter; docs/add-a-model.md walks through it.
struct SWAGE_API DecoderDescription {
  // Module paths; those of a block stand behind `blocks`.<index>.
  struct Names {
    std::string embedding = "model.embed_tokens", blocks = "model.layers",
                final_norm = "model.norm", head = "lm_head";
    std::string input_norm = "input_layernorm", post_norm = "post_attention_layernorm";
    std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj",
                o = "self_attn.o_proj";
    std::string gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  } names;

  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, block_count = 0,
          context_length = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  Activation activation = Activation::kSilu;
  bool gated = true;  // false: down(act(up(x))), and there is no gate
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool tied_embeddings = false;
  std::shared_ptr<const Rope> rope;  // null: no rotary embedding
  double attention_scale = 0.0;      // 0: 1 / sqrt(head_dim)
  int64_t window = 0;                // sliding attention window; 0: none
  double embedding_scale = 1.0;      // hidden_0 = table row * embedding_scale
};

// One block of it. Stages: input norm -> "attention.input" -> q, k, v, attention ->
// "attention.output" -> o, residual, post norm -> "mlp.input" -> gate, up -> "mlp.output" -> down,
// residual. Subsets in that order.
SWAGE_API absl::StatusOr<std::unique_ptr<Block>> load_decoder_block(
    const DecoderDescription& description, const BlockId& id, const WeightSource& source,
    const LoadOptions& options);
// Keeps the table in its storage dtype and upcasts the rows it gathers.
SWAGE_API absl::StatusOr<std::unique_ptr<Embedding>> load_decoder_embedding(
    const DecoderDescription& description, const WeightSource& source, const LoadOptions& options);
// Holds the output matrix once, in the compute dtype.
SWAGE_API absl::StatusOr<std::unique_ptr<Head>> load_decoder_head(
    const DecoderDescription& description, const WeightSource& source, const LoadOptions& options);

// An adapter for families that one description covers: a plugin derives from it and says how
// config.json reads.
class SWAGE_API DecoderAdapter : public ModelAdapter {
 public:
  absl::Status open(
      const Value& config) override;  // refuses sizes that do not fit each other, by the key's name
  const ModelShape& shape() const override { return shape_; }
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const WeightSource& source,
                                                            const LoadOptions& options) override;
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override;
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override;

 protected:
  virtual absl::StatusOr<DecoderDescription> describe(const Value& config) const = 0;
  // Changes what differs in block `index` (a window or rope in some blocks only); default: nothing
  // does.
  virtual void describe_block(int64_t index, DecoderDescription& description) const;

 private:
  DecoderDescription description_;
  ModelShape shape_;
};

}  // namespace swage::nn
