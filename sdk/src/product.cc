#include "swage/product.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "swage/linear.h"
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

namespace {

// MKL takes other kernels, with other last bits, for products of few rows (measured up to 16) and
// for a single column, whatever MKL_CBWR says.
constexpr int64_t kFewRows = 32;

// x Wᵀ where a gradient is asked for, with the products of product() in both directions.
struct LearnedProduct : torch::autograd::Function<LearnedProduct> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight) {
    context->save_for_backward({x, weight});
    const at::Tensor y = product(x, weight.t());
    return y.is_view() ? y.clone() : y;  // autograd lets nobody write into a view
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous();
    const auto of = [&](size_t input, const at::Tensor& a, const at::Tensor& b) {
      return context->needs_input_grad(input) ? product(a, b) : at::Tensor();
    };
    return {of(0, gradient, saved[1]), of(1, gradient.t().contiguous(), saved[0])};
  }
};

}  // namespace

at::Tensor affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (weight.size(0) == 1) {
    const at::Tensor y = affine(x, weight.expand({2, weight.size(1)}), {}).slice(1, 0, 1);
    return bias.defined() ? y + bias : y;
  }
  if (fast_product_fits(x, weight)) {
    at::Tensor y = product(x, weight.t());
    return bias.defined() ? y.add_(bias) : y;
  }
  if (fast_product_fits(x.detach(), weight.detach())) {
    const at::Tensor y = LearnedProduct::apply(x, weight);
    return bias.defined() ? y + bias : y;
  }
  // Products of half types take blocks by their number of rows and threads: they are summed in fp32
  // and rounded once.
  if (x.is_cpu() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf)) {
    return affine(x.to(at::kFloat), weight.to(at::kFloat),
                  bias.defined() ? bias.to(at::kFloat) : bias)
        .to(x.scalar_type());
  }
  const int64_t rows = x.size(0);
  if (rows == 0 || rows >= kFewRows) return at::linear(x, weight, bias);
  return at::linear(at::constant_pad_nd(x, {0, 0, 0, kFewRows - rows}), weight, bias)
      .slice(0, 0, rows);
}

}  // namespace swage
