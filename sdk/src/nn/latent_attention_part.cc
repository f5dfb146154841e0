#include "nn/latent_attention_part.h"

#include "swage/nn/attention.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr double kNormEps = 1e-6;  // of the narrow vectors, whatever rms_norm_eps says
constexpr const char* kQueries = "attention.queries";
constexpr const char* kRotatedKey = "attention.rotated_key";
constexpr const char* kQueryInput = "attention.query";
constexpr const char* kLatentInput = "attention.latent";
constexpr const char* kOutputInput = "attention.output";

}  // namespace

absl::Status LatentAttentionPart::load(BlockReader& reader) {
  const DecoderDescription& d = description_;
  const LatentAttention& l = latent_;
  SWAGE_RETURN_IF_ERROR(load_queries(reader));
  SWAGE_RETURN_IF_ERROR(reader.linear("self_attn.kv_a_proj_with_mqa", l.latent_rank + l.rope_dim,
                                      d.hidden_size, d.qkv_bias, &kv_a_));
  SWAGE_RETURN_IF_ERROR(
      reader.norm("self_attn.kv_a_layernorm", NormKind::kRms, kNormEps, l.latent_rank, &kv_norm_));
  SWAGE_RETURN_IF_ERROR(reader.linear("self_attn.kv_b_proj", d.heads * (l.nope_dim + l.value_dim),
                                      l.latent_rank, false, &kv_b_));
  SWAGE_RETURN_IF_ERROR(
      reader.linear(d.names.o, d.hidden_size, d.heads * l.value_dim, d.o_bias, &o_));
  add_subsets();
  return absl::OkStatus();
}

absl::Status LatentAttentionPart::load_queries(BlockReader& reader) {
  const DecoderDescription& d = description_;
  const int64_t width = d.heads * (latent_.nope_dim + latent_.rope_dim), rank = latent_.query_rank;
  if (rank == 0) return reader.linear(d.names.q, width, d.hidden_size, false, &q_);
  SWAGE_RETURN_IF_ERROR(
      reader.linear("self_attn.q_a_proj", rank, d.hidden_size, d.qkv_bias, &q_a_));
  SWAGE_RETURN_IF_ERROR(
      reader.norm("self_attn.q_a_layernorm", NormKind::kRms, kNormEps, rank, &q_norm_));
  return reader.linear("self_attn.q_b_proj", width, rank, false, &q_b_);
}

void LatentAttentionPart::add_subsets() {
  const auto add = [&](const char* input, std::vector<Linear*> linears, FoldTarget fold,
                       bool module) {
    Subset subset;
    subset.name = subset.input = input;
    subset.linears = std::move(linears);
    subset.fold = std::move(fold);
    subset.inspect_module = module;
    subsets.push_back(std::move(subset));
  };
  add("attention.input", {q_ != nullptr ? q_ : q_a_, kv_a_}, {}, true);
  if (q_b_ != nullptr) add(kQueryInput, {q_b_}, fold_into(q_norm_), false);
  add(kLatentInput, {kv_b_}, fold_into(kv_norm_), false);
  FoldTarget values;
  values.kind = FoldTarget::Kind::kLinearRows;
  values.linear = kv_b_;
  values.head_dim = latent_.value_dim;
  const int64_t head_rows = latent_.nope_dim + latent_.value_dim;
  const at::Tensor first = at::arange(description_.heads, at::kLong) * head_rows + latent_.nope_dim;
  values.row_of_channel = (first.unsqueeze(1) + at::arange(latent_.value_dim, at::kLong)).flatten();
  add(kOutputInput, {o_}, std::move(values), false);
  writers = {o_};
}

void LatentAttentionPart::narrow(Slots& slots) const {
  const at::Tensor& x = slots.at(input());
  if (q_ != nullptr) {
    slots[kQueries] = q_->apply(x);
  } else {
    slots[kQueryInput] = q_norm_.apply(q_a_->apply(x));
  }
  const at::Tensor both = kv_a_->apply(x);
  slots[kLatentInput] = kv_norm_.apply(both.slice(1, 0, latent_.latent_rank).contiguous());
  slots[kRotatedKey] = both.slice(1, latent_.latent_rank).contiguous();
  drop_input(slots);
}

at::Tensor LatentAttentionPart::attend(const at::Tensor& queries, const at::Tensor& keys_and_values,
                                       const at::Tensor& rotated_key, const Slots& slots) const {
  const LatentAttention& l = latent_;
  const int64_t heads = description_.heads;
  const at::Tensor q = queries.view({-1, heads, l.nope_dim + l.rope_dim});
  const at::Tensor kv = keys_and_values.view({-1, heads, l.nope_dim + l.value_dim});
  at::Tensor q_rope = q.slice(2, l.nope_dim), k_rope = rotated_key.view({-1, 1, l.rope_dim});
  if (l.interleaved) {
    q_rope = in_halves(q_rope, q_rope.size(2));
    k_rope = in_halves(k_rope, k_rope.size(2));
  }
  const RopeTable table = description_.rope->table(slots.positions, slots.lengths, queries);
  q_rope = rotate(q_rope.clone(at::MemoryFormat::Contiguous), table);
  k_rope = rotate(k_rope.clone(at::MemoryFormat::Contiguous), table);
  AttentionRule rule;
  rule.scale = description_.attention_scale;
  return attention(at::cat({q.slice(2, 0, l.nope_dim), q_rope}, 2),
                   at::cat({kv.slice(2, 0, l.nope_dim), k_rope.expand({-1, heads, l.rope_dim})}, 2),
                   kv.slice(2, l.nope_dim).contiguous(), slots.lengths, rule);
}

at::Tensor LatentAttentionPart::run(size_t index, Slots& slots) const {
  const std::string& name = subsets[index].input;
  if (index == 0) {
    narrow(slots);
  } else if (name == kQueryInput) {
    slots[kQueries] = q_b_->apply(slots.take(kQueryInput));
  } else if (name == kLatentInput) {
    const at::Tensor queries = slots.take(kQueries), key = slots.take(kRotatedKey);
    slots[kOutputInput] = attend(queries, kv_b_->apply(slots.take(kLatentInput)), key, slots);
  } else {
    return o_->apply(slots.take(kOutputInput));
  }
  return {};
}

}  // namespace swage::nn
