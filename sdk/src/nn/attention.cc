#include "swage/nn/attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/le.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "nn/attention_cpu.h"
#include "nn/elementwise.h"
#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr int64_t kQueriesPerPiece =
    512;  // bounds the mask of a window to kQueriesPerPiece · (kQueriesPerPiece + window)

// A run of queries and the keys they may see, of sequences of one length.
struct Piece {
  int64_t begin, end;  // queries
  int64_t first_key, last_key;
};

// [queries, keys]: which key a query sees.
at::Tensor seen(const Piece& piece, const AttentionRule& rule, const at::TensorOptions& options) {
  const auto whole = options.dtype(at::kLong);
  const at::Tensor query_at = at::arange(piece.begin, piece.end, whole).unsqueeze(1);
  const at::Tensor key_at = at::arange(piece.first_key, piece.last_key, whole).unsqueeze(0);
  if (!rule.causal) return at::ones({query_at.size(0), key_at.size(1)}, options.dtype(at::kBool));
  const at::Tensor past = key_at <= query_at;
  return rule.window > 0 ? at::logical_and(past, key_at > query_at - rule.window) : past;
}

// Scores written out: LibTorch's fused attention knows no cap. Heads first: [batch, heads, length,
// d] views in and out.
at::Tensor written_out(const at::Tensor& q, at::Tensor k, at::Tensor v, const Piece& piece,
                       const AttentionRule& rule) {
  const int64_t group = q.size(1) / k.size(1);
  if (group > 1) {
    k = k.repeat_interleave(group, 1);
    v = v.repeat_interleave(group, 1);
  }
  at::Tensor scores = q.matmul(k.transpose(-1, -2)) * rule.scale;
  if (rule.softcap > 0) {
    scores = elementwise(scores / rule.softcap, [](const at::Tensor& x) { return x.tanh(); }) *
             rule.softcap;
  }
  if (rule.key_bias.defined()) {
    scores = scores + rule.key_bias.slice(1, piece.first_key, piece.last_key).unsqueeze(1);
  }
  scores = scores.masked_fill(seen(piece, rule, q.options()).logical_not(),
                              -std::numeric_limits<double>::infinity());
  return scores.softmax(-1).matmul(v);
}

// [batch, length, heads, d] views in, the same out.
at::Tensor whole(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const AttentionRule& rule) {
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          {}, 0.0, rule.causal, rule.scale,
                                          /*enable_gqa=*/q.size(2) != k.size(2))
      .transpose(1, 2);
}

at::Tensor in_pieces(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionRule& rule) {
  const int64_t length = q.size(1);
  const bool plain = rule.softcap == 0 && !rule.key_bias.defined();
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < length; begin += kQueriesPerPiece) {
    Piece piece{begin, std::min(length, begin + kQueriesPerPiece), 0, length};
    if (rule.causal) piece.last_key = piece.end;
    if (rule.window > 0) piece.first_key = std::max<int64_t>(0, begin - rule.window + 1);
    const at::Tensor queries = q.slice(1, piece.begin, piece.end).transpose(1, 2);
    const at::Tensor keys = k.slice(1, piece.first_key, piece.last_key).transpose(1, 2);
    const at::Tensor values = v.slice(1, piece.first_key, piece.last_key).transpose(1, 2);
    const at::Tensor y = plain ? at::scaled_dot_product_attention(
                                     queries, keys, values, seen(piece, rule, q.options()), 0.0,
                                     false, rule.scale, q.size(2) != k.size(2))
                               : written_out(queries, keys, values, piece, rule);
    pieces.push_back(y.transpose(1, 2));
  }
  return at::cat(pieces, 1);
}

// LibTorch's kernels for these types pick their blocks by the number of sequences and threads.
bool is_half(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf);
}

AttentionRule in_float(AttentionRule rule) {
  if (rule.key_bias.defined()) rule.key_bias = rule.key_bias.to(at::kFloat);
  return rule;
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<int64_t>& lengths, const AttentionRule& rule) {
  if (is_half(q)) {
    return attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), lengths, in_float(rule))
        .to(q.scalar_type());
  }
  SWAGE_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(1) % k.size(1) == 0);
  SWAGE_CHECK(rule.causal || rule.window == 0);
  const bool shaped = rule.softcap > 0 || rule.key_bias.defined();
  const bool fusable = kernels::fusable({&q, &k, &v}) &&
                       (!rule.key_bias.defined() || kernels::fusable({&q, &rule.key_bias}));
  if (rule.scale > 0 && fusable) return attention_cpu(q, k, v, lengths, lengths, rule);
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  for (size_t i = 0; i < lengths.size();) {
    const int64_t length = lengths[i];
    int64_t batch = 0;  // neighbours of equal length go in one call
    for (; i < lengths.size() && lengths[i] == length; ++i) ++batch;
    const int64_t rows = batch * length;
    if (rows == 0) continue;
    const auto sequences = [&](const at::Tensor& x) {
      return x.slice(0, first, first + rows).view({batch, length, x.size(1), x.size(2)});
    };
    const bool cut = shaped || (rule.window > 0 && length > rule.window);
    const at::Tensor y = cut ? in_pieces(sequences(q), sequences(k), sequences(v), rule)
                             : whole(sequences(q), sequences(k), sequences(v), rule);
    outputs.push_back(y.reshape({rows, q.size(1) * v.size(2)}));
    first += rows;
  }
  if (outputs.empty()) return q.reshape({0, q.size(1) * v.size(2)});
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

at::Tensor cross_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::vector<int64_t>& query_lengths,
                           const std::vector<int64_t>& key_lengths, const AttentionRule& rule) {
  SWAGE_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(1) % k.size(1) == 0);
  SWAGE_CHECK(query_lengths.size() == key_lengths.size());
  if (is_half(q)) {
    return cross_attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), query_lengths,
                           key_lengths, in_float(rule))
        .to(q.scalar_type());
  }
  SWAGE_CHECK(!rule.causal && rule.window == 0 && !rule.key_bias.defined() && rule.softcap == 0);
  if (rule.scale > 0 && kernels::fusable({&q, &k, &v}))
    return attention_cpu(q, k, v, query_lengths, key_lengths, rule);
  std::vector<at::Tensor> outputs;
  int64_t first = 0, first_key = 0;
  for (size_t i = 0; i < query_lengths.size(); ++i) {
    const int64_t queries = query_lengths[i], keys = key_lengths[i];
    if (queries > 0) {
      SWAGE_CHECK(keys > 0);
      outputs.push_back(whole(q.narrow(0, first, queries).unsqueeze(0),
                              k.narrow(0, first_key, keys).unsqueeze(0),
                              v.narrow(0, first_key, keys).unsqueeze(0), rule)
                            .reshape({queries, q.size(1) * v.size(2)}));
    }
    first += queries;
    first_key += keys;
  }
  return outputs.empty() ? q.reshape({0, q.size(1) * v.size(2)}) : at::cat(outputs);
}

at::Tensor alibi_slopes(int64_t heads) {
  int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t i = 1; i <= power; ++i) {
    slopes.push_back(static_cast<float>(
        std::pow(2.0, -8.0 * static_cast<double>(i) / static_cast<double>(power))));
  }
  // Heads beyond the power of two lie between those of twice as many.
  for (int64_t i = 1; static_cast<int64_t>(slopes.size()) < heads; ++i) {
    slopes.push_back(static_cast<float>(
        std::pow(2.0, -4.0 * static_cast<double>(2 * i - 1) / static_cast<double>(power))));
  }
  return at::tensor(slopes, at::kFloat);
}

}  // namespace swage::nn
