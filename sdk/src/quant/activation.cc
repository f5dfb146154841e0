// What the input of a linear becomes when it is quantized.
#include <torch/csrc/autograd/custom_function.h>

#include "quant/view.h"

namespace swage::quant {
namespace {

// Activations use the arithmetic of weights: a token is a row, the tensor one group. Scales that a
// reader chooses itself are its reader's: kernels for 8 bits divide by 127, compressed-tensors, the
// only definition of fewer bits, by half of all steps (7.5 for 4 bits).
WeightScheme row_scheme(const ActivationScheme& scheme) {
  constexpr int kKernelBits = 8;
  WeightScheme rows;
  rows.format = scheme.format;
  rows.bits = scheme.bits;
  rows.granularity =
      scheme.granularity == Granularity::kToken ? Granularity::kChannel : Granularity::kTensor;
  rows.symmetric = scheme.symmetric;
  if (scheme.dynamic && scheme.bits < kKernelBits) rows.convention = Convention::kGptq;
  return rows;
}

template <class T>
Level<T> level_of(const T* x, int64_t count, const WeightScheme& scheme) {
  T low, high;
  // With zero in the range a token of equal values is no special case, as in the readers.
  if (row_ranges<T>(x, count, count, &low, &high))
    return choose_level(std::min(low, T(0)), std::max(high, T(0)), scheme, at::kFloat);
  return {std::numeric_limits<T>::quiet_NaN(), T(0)};
}

template <class T>
void round_trip_row(const T* x, int64_t count, const Level<T>& level, const WeightScheme& scheme,
                    T* y) {
  RowGrid<T> grid;
  grid.scales = &level.scale;
  grid.zeros = &level.zero;
  grid.width = count;
  grid.low = T(code_min(scheme.bits));
  grid.high = T(code_max(scheme.bits));
  grid.format = scheme.format;
  std::vector<uint8_t> codes(count);
  encode_row<T>(x, count, grid, codes.data());
  decode_row<T>(codes.data(), count, grid, y);
}

template <class T>
at::Tensor round_trip_as(const at::Tensor& x, const ActivationQuantizer& quantizer) {
  const WeightScheme scheme = row_scheme(quantizer.scheme);
  const at::Tensor source = x.to(c10::CppTypeToScalarType<T>::value).contiguous();
  const int64_t columns = source.size(-1), rows = source.numel() / std::max<int64_t>(columns, 1);
  at::Tensor out = at::empty_like(source);
  const T* from = source.template const_data_ptr<T>();
  T* to = out.template mutable_data_ptr<T>();
  const bool per_row = quantizer.scheme.dynamic && scheme.granularity == Granularity::kChannel;
  Level<T> shared;
  if (!quantizer.scheme.dynamic) {
    shared.scale = quantizer.scale.item<float>();
    if (quantizer.zero.defined()) shared.zero = quantizer.zero.item<float>();
  } else if (!per_row && source.numel() > 0) {
    shared = level_of(from, source.numel(), scheme);
  }
  at::parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Level<T> level = per_row ? level_of(from + r * columns, columns, scheme) : shared;
      round_trip_row(from + r * columns, columns, level, scheme, to + r * columns);
    }
  });
  return out.to(x.scalar_type());
}

at::Tensor rounded(const at::Tensor& x, const ActivationQuantizer& quantizer) {
  return x.scalar_type() == at::kDouble ? round_trip_as<double>(x, quantizer)
                                        : round_trip_as<float>(x, quantizer);
}

// Forward gives the quantized bytes themselves, which x + (q - x) would not.
struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x,
                            const ActivationQuantizer& quantizer) {
    return rounded(x, quantizer);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& grads) {
    return {grads[0], at::Tensor()};
  }
};

}  // namespace

at::Tensor fake_quantize(const at::Tensor& x, const ActivationQuantizer& quantizer) {
  return x.requires_grad() ? StraightThrough::apply(x, quantizer) : rounded(x, quantizer);
}

ActivationQuantizer static_quantizer(const ActivationScheme& scheme, float minimum, float maximum) {
  const Level<float> level = choose_level(minimum, maximum, row_scheme(scheme), at::kFloat);
  ActivationQuantizer quantizer{scheme, at::empty({1}).fill_(level.scale), {}};
  if (!scheme.symmetric) quantizer.zero = at::empty({1}).fill_(level.zero);
  return quantizer;
}

}  // namespace swage::quant
