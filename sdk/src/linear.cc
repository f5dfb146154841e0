#include "swage/linear.h"

#include <ATen/ops/linear.h>

#include "swage/quant/quantizer.h"
#include "swage/status.h"

namespace swage {

at::Tensor Linear::apply(const at::Tensor& x) const {
  if (view_ == View::kCompressed && result_ && result_->activation) {
    return at::linear(quant::fake_quantize(x, *result_->activation), effective_weight(), bias);
  }
  return at::linear(x, effective_weight(), bias);
}

absl::Status Linear::set_result(CompressedLinear result) {
  SWAGE_RETURN_IF_ERROR(validate(result));
  if (weight.defined() && (result.out != out() || result.in != in())) {
    return absl::InternalError(absl::StrCat(name, ": the result is ", result.out, " x ", result.in, ", the weight ", out(),
                                            " x ", in()));
  }
  decoded_ = decode(result).to(weight.options());
  result_ = std::make_shared<const CompressedLinear>(std::move(result));
  return absl::OkStatus();
}

const at::Tensor& Linear::effective_weight() const {
  return view_ == View::kCompressed && result_ ? decoded_ : weight;
}

void Linear::drop_float() {
  if (result_) weight = decoded_;
}

}  // namespace swage
