#include "swage/product.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/core/GradMode.h>

#include "swage/one_piece.h"

// Exported by LibTorch, though no installed header declares it: beta · result + alpha · a b.
namespace at::native {
void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& result, float beta, float alpha);
}

namespace swage {
namespace {

// Below this many rows oneDNN and MKL pick other kernels, whose sums round differently.
constexpr int64_t kLeastRows = 128;

// LibTorch refuses this entry of oneDNN, whatever the dtype, on processors without AVX-512 or the
// bfloat16 conversions of AVX. There MKL is as fast.
bool onednn_serves() {
  static const bool serves = [] {
    try {
      const at::Tensor one = at::ones({1, 1});
      at::native::mkldnn_matmul(one, one, at::empty({1, 1}), 0, 1);
      return true;
    } catch (const c10::Error&) {
      return false;
    }
  }();
  return serves;
}

}  // namespace

bool fast_product_fits(const at::Tensor& a, const at::Tensor& b) {
  const auto plain = [](const at::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == at::kFloat && t.dim() == 2 && t.numel() > 0;
  };
  if (!plain(a) || !plain(b)) return false;
  return !c10::GradMode::is_enabled() || (!a.requires_grad() && !b.requires_grad());
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const AllThreads threads;
  if (!fast_product_fits(a, b)) return at::mm(a, b);
  const int64_t rows = a.size(0);
  const at::Tensor padded =
      rows < kLeastRows ? at::constant_pad_nd(a, {0, 0, 0, kLeastRows - rows}) : a;
  if (!onednn_serves()) return at::mm(padded, b).narrow(0, 0, rows);
  at::Tensor result = at::empty({padded.size(0), b.size(1)}, a.options());
  at::native::mkldnn_matmul(padded, b, result, 0, 1);
  return result.narrow(0, 0, rows);
}

void add_product(at::Tensor out, const at::Tensor& a, const at::Tensor& b, double alpha) {
  const AllThreads threads;
  if (fast_product_fits(a, b) && out.scalar_type() == at::kFloat && onednn_serves()) {
    at::native::mkldnn_matmul(a, b, out, 1, static_cast<float>(alpha));
  } else {
    out.addmm_(a, b, 1, alpha);
  }
}

}  // namespace swage
