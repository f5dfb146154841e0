#pragma once
#include <memory>
#include <string>

#include "swage/model.h"
#include "swage/nn/activation.h"
#include "swage/nn/norm.h"
#include "swage/nn/rope.h"

namespace swage::nn {

// How a block joins attention and MLP to the residual stream h.
//   kSequential  h += attention(norm(h)); h += mlp(norm(h)); where a norm's name is empty, h itself
//   kParallel    h += attention(norm(h)) + mlp(norm(h)): one norm for both where names.post_norm is
//   empty (Phi-2,
//                Falcon-7B), else one each (Falcon-40B)
//   kPostNorm    h = norm(h + attention(h)); h = norm(h + mlp(h)) (OPT-350M)
enum class BlockForm { kSequential, kParallel, kPostNorm };

// Rows of the projection to queries, keys and values in the checkpoint.
//   kSeparate  three tensors
//   kBlocks    one: all queries, all keys, all values (Phi-3, Falcon-7B)
//   kGroups    one: per key head its queries, its key, its value (InternLM2, Falcon-40B; Bloom with
//   one query each)
enum class QkvLayout { kSeparate, kBlocks, kGroups };

// Norms of queries and keys, before rotation: within each head, with one weight for all heads or
// one module per head; over all heads together (InternViT-6B, OLMo2); or with one weight
// [heads, head_dim] (Command R+: LayerNorm).
enum class HeadNorm { kNone, kShared, kPerHead, kWhole, kStacked };

// A factor of what attention and MLP add to the stream: none, one per channel (LayerScale, Touvron
// et al. 2021), or the tanh of one number (Llama 3.2 Vision).
enum class OutputScale { kNone, kChannel, kTanhGate };

// What is added to scores by key position p: nothing, slope · p (Bloom), or, rounded to bf16 and
// before the scale, slope · p (Falcon).
enum class Alibi { kNone, kAfterScale, kBeforeScale };

// Multi-head latent attention (DeepSeek-V2, Liu et al. 2024): keys and values out of one narrow
// vector per token, one rotated key for all heads.
struct SWAGE_API LatentAttention {
  int64_t query_rank = 0;   // 0: one projection to queries, without a narrow step
  int64_t latent_rank = 0;  // of keys and values
  int64_t nope_dim = 0, rope_dim = 0, value_dim = 0;  // of one head: not rotated, rotated, value
  bool interleaved = true;                            // the checkpoint rotates pairs (2j, 2j + 1)
};

// A mixture of experts in place of the MLP: gate, up and down of every expert at
// `names.experts`.<index>, a router, and perhaps a shared expert that every token takes.
struct SWAGE_API Experts {
  enum class Score { kSoftmax, kSigmoid };
  enum class GroupScore { kGreatest, kTwoGreatest };
  struct Names {
    std::string router = "mlp.gate", experts = "mlp.experts";
    std::string shared = "mlp.shared_expert", shared_gate;
    std::string correction_bias;  // added to scores for the choice alone (DeepSeek-V3)
    std::string gate = "gate_proj", up = "up_proj", down = "down_proj";
  } names;
  int64_t count = 0, active = 0, intermediate_size = 0;
  int64_t shared_size = 0;   // intermediate size of the shared expert; 0: none
  bool shared_bias = false;  // of its linears
  Score score = Score::kSoftmax;
  int64_t groups = 1, active_groups = 1;  // a token's experts lie in so many groups
  GroupScore group_score = GroupScore::kGreatest;
  bool normalized = false;  // weights of a token's experts add up to 1 …
  double scale = 1.0;       // … times this
};

// Put aside, int64: lengths of the runs of tokens within which segmented attention sees.
inline constexpr std::string_view kSegments = "tower.segments";

// bool [tokens]: tokens that only fill up an image's place. They are seen, but not by each other.
inline constexpr std::string_view kAbsent = "tower.absent";

// A decoder as data: names of its modules, sizes and switches. An adapter fills one in from
// config.json and hands it to DecoderAdapter; docs/add-a-model.md walks through it.
struct SWAGE_API DecoderDescription {
  // Module paths; those of a block stand behind `blocks`.<index>. "" where a family has no such
  // module.
  struct Names {
    std::string embedding = "model.embed_tokens", blocks = "model.layers",
                final_norm = "model.norm", head = "lm_head";
    std::string embedding_norm, positions, project_in, project_out;
    std::string block;  // of this block, where it is not `blocks`.<index>
    std::string input_norm = "input_layernorm", post_norm = "post_attention_layernorm";
    std::string attention_norm,
        mlp_norm;  // of what attention and MLP give, before it is added (Gemma)
    std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj",
                o = "self_attn.o_proj";
    std::string qkv = "self_attn.qkv_proj";  // where the layout is not kSeparate
    std::string q_norm = "self_attn.q_norm", k_norm = "self_attn.k_norm";
    std::string gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
    std::string gate_up = "mlp.gate_up_proj";  // where fused_gate: rows of gate, then of up
    std::string attention_scale, mlp_scale;    // parameters, where output_scale is not kNone
    std::string prefix =
        "model.";  // in front of module paths; files of the bare model leave it out
  } names;

  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, block_count = 0,
          context_length = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;

  BlockForm form = BlockForm::kSequential;
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-6;
  bool residual_after_norm =
      false;  // the first norm's output is what attention is added to (Bloom's switch)
  double residual_scale = 1.0;  // factor of what attention and MLP add (MiniCPM)
  OutputScale output_scale = OutputScale::kNone;
  std::string leaves;  // slot of the tower in which the block's output stays; "": none

  QkvLayout qkv_layout = QkvLayout::kSeparate;
  bool qkv_bias = false, o_bias = false;
  HeadNorm head_norm = HeadNorm::kNone;
  NormKind head_norm_kind = NormKind::kRms;
  double head_norm_eps = 0.0;        // 0: norm_eps
  std::shared_ptr<const Rope> rope;  // null: no rotary embedding
  // Share of each head that rotates where config.json states no partial_rotary_factor; 0: the
  // family knows no such key, all of it does.
  double rotary_share = 0.0;
  bool rope_interleaved = false;  // it turns pairs (2j, 2j + 1), not (j, j + dim / 2)
  double attention_scale = 0.0;   // 0: 1 / sqrt(head_dim)
  bool causal = true;
  bool segmented = false;          // attention within the segments of kSegments only
  bool absent_apart = false;       // two tokens of kAbsent do not see each other
  int64_t window = 0;              // sliding attention window; 0: none
  double attention_softcap = 0.0;  // 0: none
  double qkv_limit = 0.0;          // queries, keys and values are cut off at ± this; 0: none
  Alibi alibi = Alibi::kNone;

  Activation activation = Activation::kSilu;
  bool gated = true;  // false: down(act(up(x))), and there is no gate
  bool fused_gate = false;
  bool mlp_bias = false;

  std::shared_ptr<const LatentAttention> latent;  // null: q, k, v as above
  std::shared_ptr<const Experts> experts;         // null: an MLP as above

  bool tied_embeddings = false;
  int64_t embedding_width = 0;   // of the table where project_in widens its rows; 0: hidden_size
  int64_t position_offset = 0;   // row of position 0 in the table of learned positions
  double embedding_scale = 1.0;  // hidden_0 = table row * embedding_scale
  bool scales_features = false;  // it scales features of images among the rows too (Granite)
  bool head_bias = false;
  double head_scale = 1.0;     // logits = head(normalized * head_scale)
  double logit_softcap = 0.0;  // 0: none
};

// Key of a config.json that the host hands to a language model behind a vision tower: false where
// the checkpoint holds no bias of the head (transformers gives such models a head without one).
inline constexpr std::string_view kHeadBias = "lm_head_bias";

// Fills in what most families read from config.json under the same names; `d` holds the family's
// defaults, which stand for keys that are absent: vocab_size, hidden_size, intermediate_size,
// num_hidden_layers, max_position_embeddings, num_attention_heads, num_key_value_heads (0 or null:
// as many as heads), head_dim (0 or null: hidden_size / heads), hidden_act, rms_norm_eps
// (layer_norm_eps where d.norm is kLayer), tie_word_embeddings, and the keys of read_rope with
// `theta` as the family's default. InvalidArgument names the key.
SWAGE_API absl::Status read_decoder(const Value& config, DecoderDescription& d,
                                    double theta = 10000.0);
// The member of a plugin's families that config.json describes, as its model_type:
// `families` are pairs {architecture, model_type}, the plugin's default first. `architectures`
// decides where it names one of them, whatever model_type says; else a model_type among them; else
// the first one. InvalidArgument: the two name different ones.
using Families = std::vector<std::pair<const char*, const char*>>;
SWAGE_API absl::StatusOr<std::string> family_of(const Value& config, const Families& families);
// config.json with keys under the names that read_decoder knows: {"n_head", "num_attention_heads"}
// … A key that is there under its common name already stays as it is.
SWAGE_API Value renamed(const Value& config,
                        const std::vector<std::pair<std::string, std::string>>& keys);
// config.json with `value` for a key that is absent (null included), and not in rope_parameters
// either.
SWAGE_API Value defaulted(const Value& config, const std::string& key, Value value);
// False for a key that is absent; true for one that is there, null included (which often means
// "none", not "the default").
SWAGE_API bool stated(const Value& config, std::string_view key);
// sliding_window: absent means `fallback`, null means none.
SWAGE_API int64_t window_size(const Value& config, int64_t fallback);
// The window of block `index`: `window` where layer_types (transformers 5) says "sliding_attention"
// or, without that key, where the family `slides` there; else 0. InvalidArgument: another word, a
// list of another length, or a word that asks for a window where there is none.
SWAGE_API absl::StatusOr<int64_t> read_window(const Value& config, int64_t block_count,
                                              int64_t index, int64_t window, bool slides);
// The description with names as `source` spells them: without names.prefix where its embedding lies
// there.
SWAGE_API DecoderDescription as_stored(const DecoderDescription& description,
                                       const WeightSource& source);
// The tensor in which `source` holds the embedding's table: that of the head where both are one and
// the table has none of its own. `description` is as_stored.
SWAGE_API std::string table_name(const DecoderDescription& description, const WeightSource& source);

// One block of it. Subsets in the order of the stages: "attention.input" (q, k, v; in parallel
// blocks with one norm the MLP's first linears too), "attention.output" (o), "mlp.input" (gate, up;
// unless parallel with one norm), "mlp.output" (down).
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
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override;
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override;
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override;

 protected:
  virtual absl::StatusOr<DecoderDescription> describe(const Value& config) const = 0;
  // Changes what differs in block `index` (a window or rope in some blocks only); default: nothing
  // does.
  virtual absl::Status describe_block(const Value& config, int64_t index,
                                      DecoderDescription& description) const;

 private:
  Value config_;
  DecoderDescription description_;
  ModelShape shape_;
};

}  // namespace swage::nn
