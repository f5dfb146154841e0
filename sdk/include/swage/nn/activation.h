#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::nn {

// kGelu is the erf form, kGeluTanh the tanh approximation, kQuickGelu x · sigmoid(1.702 x),
// kRelu2 the square of relu.
enum class Activation { kSilu, kGelu, kGeluTanh, kQuickGelu, kRelu, kRelu2 };

// The value of config.json's hidden_act. InvalidArgument names it and those that are known.
SWAGE_API absl::StatusOr<Activation> parse_activation(const std::string& hidden_act);

SWAGE_API at::Tensor activate(Activation activation, const at::Tensor& x);

// act(gate) · up. Takes `gate` over: where no gradient is needed the product is written into it.
SWAGE_API at::Tensor activate_gate(Activation activation, at::Tensor gate, const at::Tensor& up);

}  // namespace swage::nn
