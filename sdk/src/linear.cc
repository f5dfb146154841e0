#include "swage/linear.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include "swage/product.h"
#include "swage/quant/quantizer.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
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

at::Tensor Linear::apply(const at::Tensor& x) const {
  const bool compressed = view_ == View::kCompressed && result_;
  const std::optional<ActivationQuantizer>& quantizer =
      compressed ? result_->activation : input_quantizer;
  const auto& transform = compressed ? result_transform_ : online_transform;
  const at::Tensor input = transform ? transform->apply(x) : x;
  return affine(quantizer ? quant::fake_quantize(input, *quantizer) : input, effective_weight(),
                bias);
}

absl::Status Linear::set_result(CompressedLinear result) {
  if (result.online_transform.empty() && online_transform)
    result.online_transform = online_transform->text();
  SWAGE_RETURN_IF_ERROR(validate(result));
  if (weight.defined() && (result.out != out() || result.in != in())) {
    return absl::InternalError(absl::StrCat(name, ": the result is ", result.out, " x ", result.in,
                                            ", the weight ", out(), " x ", in()));
  }
  result_transform_.reset();
  if (online_transform && online_transform->text() == result.online_transform) {
    result_transform_ = online_transform;
  } else if (!result.online_transform.empty()) {
    result_transform_ = std::make_shared<transform::OnlineTransform>(
        *transform::OnlineTransform::parse(result.online_transform, result.in));
  }
  decoded_ = decode(result).to(weight.options());
  result_ = std::make_shared<const CompressedLinear>(std::move(result));
  return absl::OkStatus();
}

const at::Tensor& Linear::effective_weight() const {
  return view_ == View::kCompressed && result_ ? decoded_ : weight;
}

void Linear::drop_float() {
  if (!result_) return;
  weight = decoded_;
  online_transform = result_transform_;
}

}  // namespace swage
