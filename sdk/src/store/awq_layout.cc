#include "swage/store/awq_layout.h"

#include <ATen/ops/tensor.h>

#include "swage/store/packing.h"

namespace swage::store {
namespace {

constexpr int kBits = 4;
constexpr int64_t kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};    // of the eight codes in a word
constexpr int64_t kInverse[] = {0, 4, 1, 5, 2, 6, 3, 7};  // where each of them went

at::Tensor reordered(const at::Tensor& codes, at::ArrayRef<int64_t> order) {
  const at::Tensor index = at::tensor(order, at::kLong).to(codes.device());
  return codes.view({codes.size(0), -1, 8}).index_select(2, index).view(codes.sizes());
}

}  // namespace

at::Tensor pack_awq(const at::Tensor& codes) {
  return pack(reordered(codes.t().contiguous(), kOrder), kBits);
}

at::Tensor unpack_awq(const at::Tensor& words) {
  return reordered(unpack(words, kBits, words.size(1) * 8), kInverse).t().contiguous();
}

}  // namespace swage::store
