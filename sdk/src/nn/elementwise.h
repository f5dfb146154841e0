#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "swage/one_piece.h"

namespace swage::nn {

// operation(x) for a function of single elements, such that what becomes of one depends on nothing
// else. ATen's vector code has other last bits than its code for what is left at the end of a
// thread's share, and where that lies hangs on threads and sizes: here nothing is left, since the
// shares are whole vectors.
template <class Operation>
at::Tensor elementwise(const at::Tensor& x, const Operation& operation) {
  constexpr int64_t kVector = 64, kPiece = 1 << 14;
  const int64_t count = x.numel(), rest = (kVector - count % kVector) % kVector;
  if (count == 0) return operation(x);
  at::Tensor flat = x.contiguous().view({-1});
  if (rest > 0) flat = at::constant_pad_nd(flat, {0, rest});
  at::Tensor y;
  if (x.requires_grad() && c10::GradMode::is_enabled()) {
    const OnePiece alone;
    y = operation(flat);
  } else {
    y = at::empty_like(flat);
    const int64_t pieces = (flat.numel() + kPiece - 1) / kPiece;
    at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t length = std::min(kPiece, flat.numel() - i * kPiece);
        y.narrow(0, i * kPiece, length).copy_(operation(flat.narrow(0, i * kPiece, length)));
      }
    });
  }
  return y.narrow(0, 0, count).view(x.sizes());
}

}  // namespace swage::nn
