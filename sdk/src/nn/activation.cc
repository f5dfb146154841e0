#include "swage/nn/activation.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/square.h>

#include "nn/elementwise.h"
#include "nn/kernels.h"
#include "swage/suggest.h"

namespace swage::nn {
namespace {

constexpr int64_t kElementsPerTask = 1 << 15;

const std::map<std::string, Activation>& known() {
  static const std::map<std::string, Activation> names = {
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_accurate", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"quick_gelu", Activation::kQuickGelu},
      {"relu", Activation::kRelu},
      {"relu2", Activation::kRelu2},
  };
  return names;
}

template <class T>
void fused_elements(Activation activation, T* x, const T* up, size_t count) {
  switch (activation) {
    case Activation::kSilu:
      return kernels::gate(kernels::Gate::kSilu, x, up, count);
    case Activation::kQuickGelu:
      return kernels::gate(kernels::Gate::kQuickGelu, x, up, count);
    case Activation::kGeluTanh:
      return kernels::gate(kernels::Gate::kGeluTanh, x, up, count);
    case Activation::kGelu:
      for (size_t i = 0; i < count; ++i) {
        x[i] *= T{0.5} * (T{1} + std::erf(x[i] * T{0.70710678118654752}));
        if (up != nullptr) x[i] *= up[i];
      }
      return;
    case Activation::kRelu:
      for (size_t i = 0; i < count; ++i) {
        x[i] = x[i] < 0 ? T{0} : x[i];
        if (up != nullptr) x[i] *= up[i];
      }
      return;
    case Activation::kRelu2:
      for (size_t i = 0; i < count; ++i) {
        x[i] = x[i] < 0 ? T{0} : x[i] * x[i];
        if (up != nullptr) x[i] *= up[i];
      }
  }
}

// Vector library calls of ATen give other last bits at the end of a thread's share than within it;
// these loops do not.
void fused_in_place(Activation activation, at::Tensor& x, const at::Tensor* up) {
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "activation", [&] {
    auto* values = x.mutable_data_ptr<scalar_t>();
    const auto* factors = up != nullptr ? up->const_data_ptr<scalar_t>() : nullptr;
    at::parallel_for(0, x.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
      fused_elements(activation, values + begin, factors != nullptr ? factors + begin : nullptr,
                     static_cast<size_t>(end - begin));
    });
  });
}

at::Tensor of_elements(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kQuickGelu:
      return x * at::sigmoid(x * 1.702);
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kRelu2:
      return at::relu(x).square();
  }
  return {};
}

at::Tensor plain(Activation activation, const at::Tensor& x) {
  return elementwise(x, [&](const at::Tensor& piece) { return of_elements(activation, piece); });
}

}  // namespace

absl::StatusOr<Activation> parse_activation(const std::string& hidden_act) {
  const auto it = known().find(hidden_act);
  if (it != known().end()) return it->second;
  std::vector<std::string> names;
  for (const auto& [name, value] : known()) names.push_back(name);
  return absl::InvalidArgumentError(absl::StrCat("hidden_act \"", hidden_act, "\" is not supported",
                                                 suggestion(hidden_act, names)));
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  if (!kernels::fusable({&x})) return plain(activation, x);
  at::Tensor y = x.clone();
  fused_in_place(activation, y, nullptr);
  return y;
}

at::Tensor activate_gate(Activation activation, at::Tensor gate, const at::Tensor& up) {
  if (!kernels::fusable({&gate, &up})) return plain(activation, gate) * up;
  fused_in_place(activation, gate, &up);
  return gate;
}

}  // namespace swage::nn
