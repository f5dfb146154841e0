#include "swage/linear.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {

at::Tensor Linear::apply(const at::Tensor& x) const {
  const bool compressed = view_ == View::kCompressed && result_;
  const std::optional<ActivationQuantizer>& quantizer =
      compressed ? result_->activation() : input_quantizer;
  const auto& transform = compressed ? result_transform_ : online_transform;
  const at::Tensor input = transform ? transform->apply(x) : x;
  const at::Tensor y =
      affine(quantizer ? quantizer->apply(input) : input, effective_weight(), bias);
  return compressed && raw_.defined() ? y + affine(input, raw_, {}) : y;
}

absl::Status Linear::set_result(Result result) {
  if (result.online_transform().empty() && online_transform)
    result.set_online_transform(online_transform->text());
  if (!result.mask().defined() && mask.defined()) result.set_mask(mask);
  SWAGE_RETURN_IF_ERROR(validate(result));
  if (weight.defined() && (result.out() != out() || result.in() != in())) {
    return absl::InternalError(absl::StrCat(name, ": the result is ", result.out(), " x ",
                                            result.in(), ", the weight ", out(), " x ", in()));
  }
  result_transform_.reset();
  if (online_transform && online_transform->text() == result.online_transform()) {
    result_transform_ = online_transform;
  } else if (!result.online_transform().empty()) {
    SWAGE_ASSIGN_OR_RETURN(result_transform_,
                           InputTransform::parse(result.online_transform(), result.in()));
  }
  decoded_ = decode(result).to(weight.options());
  raw_ = decode_raw(result);
  if (raw_.defined()) {
    raw_ = raw_.to(weight.options());
    if (!result.activation()) {  // one input, one product
      decoded_ = decoded_ + raw_;
      raw_.reset();
    }
  }
  result_ = std::make_shared<const Result>(std::move(result));
  return absl::OkStatus();
}

const at::Tensor& Linear::effective_weight() const {
  return view_ == View::kCompressed && result_ ? decoded_ : weight;
}

void Linear::drop_float() {
  if (!result_) return;
  weight = raw_.defined() ? decoded_ + raw_ : decoded_;
  online_transform = result_transform_;
}

}  // namespace swage
