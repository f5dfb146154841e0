#include "swage/nn/norm.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/rsqrt.h>

#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr int64_t kRowsPerTask = 64;

at::Tensor fused_rms(const at::Tensor& x, const at::Tensor& weight, double eps, double offset) {
  at::Tensor y = at::empty_like(x);
  const int64_t columns = x.size(-1);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm", [&] {
    const auto* in = x.const_data_ptr<scalar_t>();
    const auto* w = weight.const_data_ptr<scalar_t>();
    auto* out = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, x.numel() / columns, kRowsPerTask, [&](int64_t begin, int64_t end) {
      kernels::rms_norm(in + begin * columns, w, out + begin * columns,
                        static_cast<size_t>(end - begin), static_cast<size_t>(columns), eps,
                        offset);
    });
  });
  return y;
}

}  // namespace

at::Tensor Norm::apply(const at::Tensor& x) const {
  if (subtracts_mean(kind)) {
    at::Tensor factor = weight != nullptr ? weight->value : at::Tensor();
    if (kind == NormKind::kLayerOffset) factor = factor + 1;
    return at::layer_norm(x, {x.size(-1)}, factor, bias != nullptr ? bias->value : at::Tensor(),
                          eps);
  }
  SWAGE_CHECK(weight != nullptr);
  const at::Tensor& w = weight->value;
  const double offset = is_offset(kind) ? 1.0 : 0.0;
  if (x.numel() > 0 && kernels::fusable({&x, &w})) return fused_rms(x, w, eps, offset);
  const at::Tensor scale = at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + eps);
  return (offset == 0.0 ? w : w + offset) * (x * scale);
}

}  // namespace swage::nn
