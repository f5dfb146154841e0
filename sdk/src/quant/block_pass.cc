#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/block_pass.cc"
#include <hwy/foreach_target.h>
//
#include "quant/block_pass.h"
#include "quant/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace swage::HWY_NAMESPACE {

void BlockPass(const quant::BlockPass<float>& pass, quant::BlockSums<float>* sums) {
  constexpr float kLeast = std::numeric_limits<float>::min();
  const F32 f;
  const int64_t lanes = hn::Lanes(f);
  const auto low = hn::Set(f, pass.low), high = hn::Set(f, pass.high);
  for (int64_t lane = 0; lane < quant::kBlockRows; lane += lanes) {
    const auto scale = hn::LoadU(f, pass.scale + lane), offset = hn::LoadU(f, pass.offset + lane);
    const auto inverse = hn::IfThenElseZero(hn::Ge(hn::Abs(scale), hn::Set(f, kLeast)),
                                            hn::Div(hn::Set(f, 1.f), scale));
    auto error = hn::Zero(f), code = error, square = error, product = error;
    for (int64_t c = 0; c < pass.width; ++c) {
      const auto x = hn::LoadU(f, pass.x + c * quant::kBlockRows + lane);
      const auto importance = hn::Set(f, pass.importance[c]);
      const auto place = hn::Mul(hn::Sub(x, offset), inverse);
      const auto q = hn::Round(hn::Min(hn::Max(place, low), high));
      const auto e = hn::Sub(hn::Add(hn::Mul(q, scale), offset), x);
      const auto share = hn::Mul(importance, q);
      error = hn::Add(error, hn::Mul(importance, hn::Mul(e, e)));
      code = hn::Add(code, share);
      square = hn::Add(square, hn::Mul(share, q));
      product = hn::Add(product, hn::Mul(share, x));
    }
    hn::StoreU(error, f, sums->error + lane);
    hn::StoreU(code, f, sums->code + lane);
    hn::StoreU(square, f, sums->square + lane);
    hn::StoreU(product, f, sums->product + lane);
  }
}

}  // namespace swage::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swage {
HWY_EXPORT(BlockPass);

namespace quant {
namespace plain {

template <class T>
void block_pass(const BlockPass<T>& pass, BlockSums<T>* sums) {
  for (int64_t r = 0; r < kBlockRows; ++r) {
    const T scale = pass.scale[r], offset = pass.offset[r];
    const T inverse = std::abs(scale) >= std::numeric_limits<T>::min() ? 1 / scale : 0;
    T error = 0, code = 0, square = 0, product = 0;
    for (int64_t c = 0; c < pass.width; ++c) {
      const T x = pass.x[c * kBlockRows + r];
      const T q = std::nearbyint(std::min(std::max((x - offset) * inverse, pass.low), pass.high));
      const T e = q * scale + offset - x, share = pass.importance[c] * q;
      error += pass.importance[c] * (e * e);
      code += share;
      square += share * q;
      product += share * x;
    }
    sums->error[r] = error;
    sums->code[r] = code;
    sums->square[r] = square;
    sums->product[r] = product;
  }
}

template void block_pass(const BlockPass<float>&, BlockSums<float>*);
template void block_pass(const BlockPass<double>&, BlockSums<double>*);

}  // namespace plain

template <>
void block_pass(const BlockPass<float>& pass, BlockSums<float>* sums) {
  HWY_DYNAMIC_DISPATCH(BlockPass)(pass, sums);
}

}  // namespace quant
}  // namespace swage
#endif
