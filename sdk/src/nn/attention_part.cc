#include "nn/attention_part.h"

#include "swage/status.h"

namespace swage::nn {

absl::Status AttentionPart::load(BlockReader& reader) {
  const DecoderDescription& d = description_;
  const int64_t width = d.heads * d.head_dim, kv_width = d.kv_heads * d.head_dim;
  Subset input;
  input.name = input.input = "attention.input";
  input.inspect_module = true;
  if (d.qkv_layout == QkvLayout::kSeparate) {
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.q, width, d.hidden_size, d.qkv_bias, &q_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.k, kv_width, d.hidden_size, d.qkv_bias, &k_));
    SWAGE_RETURN_IF_ERROR(reader.linear(d.names.v, kv_width, d.hidden_size, d.qkv_bias, &v_));
    input.linears = {q_, k_, v_};
  } else {
    SWAGE_RETURN_IF_ERROR(
        reader.linear(d.names.qkv, width + 2 * kv_width, d.hidden_size, d.qkv_bias, &qkv_));
    input.linears = {qkv_};
  }
  SWAGE_RETURN_IF_ERROR(reader.linear(d.names.o, d.hidden_size, width, d.o_bias, &o_));
  if (d.head_norm != HeadNorm::kNone) {
    SWAGE_RETURN_IF_ERROR(load_head_norms(reader, d.names.q_norm, d.heads, q_norms_));
    SWAGE_RETURN_IF_ERROR(load_head_norms(reader, d.names.k_norm, d.kv_heads, k_norms_));
  }
  Subset output;
  output.name = output.input = "attention.output";
  output.linears = {o_};
  output.fold.kind = FoldTarget::Kind::kLinearRows;
  output.fold.head_dim = d.head_dim;
  output.fold.linear = qkv_ != nullptr ? qkv_ : v_;
  output.fold.row_of_channel = value_rows();
  if (d.qkv_limit > 0) {
    output.fold = {};
    output.fold.why_none = "values are cut off at a limit, which a scale would move";
  }
  subsets = {std::move(input), std::move(output)};
  writers = {o_};
  return absl::OkStatus();
}

absl::Status AttentionPart::load_head_norms(BlockReader& reader, const std::string& name,
                                            int64_t heads, std::vector<Norm>& norms) {
  const DecoderDescription& d = description_;
  const double eps = d.head_norm_eps > 0 ? d.head_norm_eps : d.norm_eps;
  const bool shared = d.head_norm == HeadNorm::kShared;
  if (d.head_norm == HeadNorm::kWhole) {
    norms.resize(1);
    return reader.norm(name, d.head_norm_kind, eps, heads * d.head_dim, &norms.front());
  }
  if (d.head_norm == HeadNorm::kStacked) {
    norms.resize(1);
    norms.front() = {d.head_norm_kind, eps, nullptr, nullptr, true};
    return reader.parameter(name + ".weight", {heads, d.head_dim}, &norms.front().weight);
  }
  norms.resize(shared ? 1 : static_cast<size_t>(heads));
  for (size_t i = 0; i < norms.size(); ++i) {
    SWAGE_RETURN_IF_ERROR(reader.norm(shared ? name : absl::StrCat(name, ".norms.", i),
                                      d.head_norm_kind, eps, d.head_dim, &norms[i]));
  }
  return absl::OkStatus();
}

at::Tensor AttentionPart::value_rows() const {
  const DecoderDescription& d = description_;
  const int64_t group = d.heads / d.kv_heads;
  // Channel (head h, c) of o's input comes from row c of the value head h / group.
  const at::Tensor kv_head = at::arange(d.kv_heads, at::kLong).repeat_interleave(group);
  at::Tensor first = kv_head * d.head_dim;
  if (d.qkv_layout == QkvLayout::kBlocks) first = first + (d.heads + d.kv_heads) * d.head_dim;
  if (d.qkv_layout == QkvLayout::kGroups) first = (kv_head * (group + 2) + group + 1) * d.head_dim;
  return (first.unsqueeze(1) + at::arange(d.head_dim, at::kLong)).flatten();
}

KeySites AttentionPart::key_sites() const {
  const DecoderDescription& d = description_;
  KeySites sites;
  if (d.head_norm != HeadNorm::kNone)
    sites.why_none = "norms of queries and keys stand behind their projections";
  if (d.qkv_limit > 0) sites.why_none = "queries and keys are cut off at a limit";
  const int64_t group = d.heads / d.kv_heads;
  const at::Tensor query_head = at::arange(d.heads, at::kLong);
  const at::Tensor key_head = at::arange(d.kv_heads, at::kLong);
  at::Tensor query = query_head, key = key_head;  // slices of head_dim rows
  if (d.qkv_layout == QkvLayout::kBlocks) key = key_head + d.heads;
  if (d.qkv_layout == QkvLayout::kGroups) {
    query = query_head.floor_divide(group) * (group + 2) + query_head.remainder(group);
    key = key_head * (group + 2) + group;
  }
  const auto rows = [&](const at::Tensor& slices) {
    const at::Tensor all = slices.unsqueeze(1) * d.head_dim + at::arange(d.head_dim, at::kLong);
    return d.rope && d.rope_interleaved ? in_halves(all, d.rope->dim()) : all;
  };
  sites.query = qkv_ != nullptr ? qkv_ : q_;
  sites.key = qkv_ != nullptr ? qkv_ : k_;
  sites.query_rows = rows(query);
  sites.key_rows = rows(key);
  sites.rotary_dim = d.rope ? d.rope->dim() : 0;
  return sites;
}

AttentionPart::Heads AttentionPart::project(const at::Tensor& x) const {
  const DecoderDescription& d = description_;
  if (qkv_ == nullptr) {
    return {q_->apply(x).view({-1, d.heads, d.head_dim}),
            k_->apply(x).view({-1, d.kv_heads, d.head_dim}),
            v_->apply(x).view({-1, d.kv_heads, d.head_dim})};
  }
  const at::Tensor all = qkv_->apply(x);
  if (d.qkv_layout == QkvLayout::kBlocks) {
    const at::Tensor heads = all.view({-1, d.heads + 2 * d.kv_heads, d.head_dim});
    return {heads.slice(1, 0, d.heads).contiguous(),
            heads.slice(1, d.heads, d.heads + d.kv_heads).contiguous(),
            heads.slice(1, d.heads + d.kv_heads).contiguous()};
  }
  const int64_t group = d.heads / d.kv_heads;
  const at::Tensor groups = all.view({-1, d.kv_heads, group + 2, d.head_dim});
  return {groups.slice(2, 0, group).reshape({-1, d.heads, d.head_dim}),
          groups.select(2, group).contiguous(), groups.select(2, group + 1).contiguous()};
}

at::Tensor AttentionPart::normalize(const std::vector<Norm>& norms, const at::Tensor& heads) const {
  if (norms.empty()) return heads;
  if (description_.head_norm == HeadNorm::kWhole)
    return norms.front().apply(heads.flatten(1)).view_as(heads);
  if (description_.head_norm == HeadNorm::kStacked) {
    const Norm& norm = norms.front();
    SWAGE_CHECK(norm.kind == NormKind::kLayerScaled);
    return at::layer_norm(heads, {heads.size(2)}, {}, {}, norm.eps) * norm.weight->value;
  }
  if (norms.size() == 1) return norms.front().apply(heads);
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < norms.size(); ++i) {
    parts.push_back(norms[i].apply(heads.select(1, static_cast<int64_t>(i)).contiguous()));
  }
  return at::stack(parts, 1);
}

AttentionRule AttentionPart::rule(const Slots& slots, const at::Tensor& like) const {
  const DecoderDescription& d = description_;
  AttentionRule rule;
  rule.scale =
      d.attention_scale != 0 ? d.attention_scale : 1.0 / std::sqrt(static_cast<double>(d.head_dim));
  rule.causal = d.causal;
  rule.window = d.window;
  rule.softcap = d.attention_softcap;
  if (d.alibi == Alibi::kNone || slots.lengths.empty()) return rule;
  const int64_t longest = *std::max_element(slots.lengths.begin(), slots.lengths.end());
  at::Tensor slopes = alibi_slopes(d.heads).unsqueeze(1);
  const at::Tensor positions = at::arange(longest, at::kFloat);
  if (d.alibi == Alibi::kAfterScale) {
    rule.key_bias = (slopes * positions).to(like.options());
  } else {
    // The published model computes the bias in bf16, whatever it computes in otherwise.
    const at::Tensor bias = (slopes.to(at::kBFloat16).to(at::kFloat) * positions).to(at::kBFloat16);
    rule.key_bias = bias.to(like.options()) * rule.scale;
  }
  return rule;
}

std::vector<int64_t> AttentionPart::lengths(const Slots& slots) const {
  if (!description_.segmented) return slots.lengths;
  const at::Tensor& segments = slots.at(kSegments);
  const auto* first = segments.const_data_ptr<int64_t>();
  return {first, first + segments.numel()};
}

at::Tensor AttentionPart::attend(const at::Tensor& x, const Slots& slots) const {
  Heads heads = project(x);
  if (const double limit = description_.qkv_limit; limit > 0) {
    for (at::Tensor* const part : {&heads.q, &heads.k, &heads.v})
      *part = part->clamp(-limit, limit);
  }
  heads.q = normalize(q_norms_, heads.q);
  heads.k = normalize(k_norms_, heads.k);
  if (description_.rope) {
    const at::Tensor& places = slots.has(kPlaces) ? slots.at(kPlaces) : slots.positions;
    const RopeTable table = description_.rope->table(places, slots.lengths, heads.q);
    if (description_.rope_interleaved) {
      heads.q = in_halves(heads.q, description_.rope->dim());
      heads.k = in_halves(heads.k, description_.rope->dim());
    }
    heads.q = rotate(std::move(heads.q), table);
    heads.k = rotate(std::move(heads.k), table);
  }
  if (description_.absent_apart) return attend_apart(heads, slots);
  return attention(heads.q, heads.k, heads.v, lengths(slots), rule(slots, heads.q));
}

// Who is there sees all; who is absent sees those that are there.
at::Tensor AttentionPart::attend_apart(const Heads& heads, const Slots& slots) const {
  const at::Tensor& absent = slots.at(kAbsent);
  const at::Tensor there = absent.logical_not().nonzero().flatten();
  const at::Tensor gone = absent.nonzero().flatten();
  std::vector<int64_t> there_counts, gone_counts;
  int64_t first = 0;
  for (const int64_t length : slots.lengths) {
    gone_counts.push_back(absent.narrow(0, first, length).sum().item<int64_t>());
    there_counts.push_back(length - gone_counts.back());
    first += length;
  }
  const AttentionRule how = rule(slots, heads.q);
  const at::Tensor seeing = cross_attention(heads.q.index_select(0, there), heads.k, heads.v,
                                            there_counts, slots.lengths, how);
  const at::Tensor filling =
      cross_attention(heads.q.index_select(0, gone), heads.k.index_select(0, there),
                      heads.v.index_select(0, there), gone_counts, there_counts, how);
  return at::zeros({first, seeing.size(1)}, seeing.options())
      .index_copy(0, there, seeing)
      .index_copy(0, gone, filling);
}

at::Tensor AttentionPart::run(size_t index, Slots& slots) const {
  if (index == 0) {
    slots[subsets[1].input] = attend(slots.at(input()), slots);
    drop_input(slots);
    return {};
  }
  return o_->apply(slots.take(subsets[1].input));
}

}  // namespace swage::nn
