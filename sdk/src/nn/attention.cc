#include "swage/nn/attention.h"

#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/le.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "nn/attention_cpu.h"
#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr int64_t kQueriesPerPiece =
    512;  // bounds the mask of a window to kQueriesPerPiece · (kQueriesPerPiece + window)

// [batch, length, heads, d] views in, the same out.
at::Tensor whole(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  return at::scaled_dot_product_attention(
             q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), {}, 0.0,
             /*is_causal=*/true, scale, /*enable_gqa=*/q.size(2) != k.size(2))
      .transpose(1, 2);
}

at::Tensor windowed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                    int64_t window) {
  const int64_t length = q.size(1);
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < length; begin += kQueriesPerPiece) {
    const int64_t end = std::min(length, begin + kQueriesPerPiece);
    const int64_t first_key = std::max<int64_t>(0, begin - window + 1);
    const auto options = q.options().dtype(at::kLong);
    const at::Tensor query_at = at::arange(begin, end, options).unsqueeze(1);
    const at::Tensor key_at = at::arange(first_key, end, options).unsqueeze(0);
    const at::Tensor seen = at::logical_and(key_at <= query_at, key_at > query_at - window);
    pieces.push_back(at::scaled_dot_product_attention(q.slice(1, begin, end).transpose(1, 2),
                                                      k.slice(1, first_key, end).transpose(1, 2),
                                                      v.slice(1, first_key, end).transpose(1, 2),
                                                      seen, 0.0, false, scale,
                                                      q.size(2) != k.size(2))
                         .transpose(1, 2));
  }
  return at::cat(pieces, 1);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<int64_t>& lengths, double scale, int64_t window) {
  SWAGE_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(1) % k.size(1) == 0);
  if (scale > 0 && kernels::fusable({&q, &k, &v}))
    return attention_cpu(q, k, v, lengths, scale, window);
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
    const at::Tensor y = window > 0 && length > window
                             ? windowed(sequences(q), sequences(k), sequences(v), scale, window)
                             : whole(sequences(q), sequences(k), sequences(v), scale);
    outputs.push_back(y.reshape({rows, q.size(1) * v.size(2)}));
    first += rows;
  }
  if (outputs.empty()) return q.reshape({0, q.size(1) * v.size(2)});
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

}  // namespace swage::nn
