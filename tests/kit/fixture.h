#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>
#include <map>

// The golden fixtures: weights and correlated inputs from a 32-bit linear congruential generator,
// in fp64.
namespace swage::test {

struct Fixture {
  at::Tensor weight;  // [out, in]
  at::Tensor input;   // [tokens, in]

  at::Tensor hessian() const { return 2 * input.t().mm(input); }
  // tr((Q - W) H (Q - W)ᵀ)
  double error(const at::Tensor& quantized) const {
    const at::Tensor difference = quantized.to(at::kDouble) - weight;
    return (difference.mm(hessian()) * difference).sum().item<double>();
  }
};

class Generator {
 public:
  explicit Generator(uint32_t seed) : state_(seed) {}
  double uniform() {
    state_ = 1664525u * state_ + 1013904223u;
    return (state_ >> 8) / 16777216.0;
  }
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

 private:
  uint32_t state_;
};

inline Fixture fixture(uint32_t seed, int64_t out, int64_t in, int64_t tokens,
                       const std::map<int64_t, double>& amplitudes, double rho = 0.5) {
  Generator random(seed);
  Fixture result{at::empty({out, in}, at::kDouble), at::empty({tokens, in}, at::kDouble)};
  double* w = result.weight.mutable_data_ptr<double>();
  for (int64_t i = 0; i < out * in; ++i) w[i] = 0.1 * random.normal();
  const at::Tensor noise = at::empty_like(result.input);
  double* e = noise.mutable_data_ptr<double>();
  for (int64_t i = 0; i < tokens * in; ++i) e[i] = random.normal();
  double* x = result.input.mutable_data_ptr<double>();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < in; ++c) {
      const auto amplitude = amplitudes.find(c);
      const double factor = amplitude == amplitudes.end() ? 1.0 : amplitude->second;
      x[t * in + c] = factor * (e[t * in + c] + rho * e[t * in + (c + in - 1) % in]);
    }
  }
  return result;
}

inline Fixture f1() { return fixture(1, 8, 16, 64, {{3, 20}, {11, 8}}); }   // brutal outliers
inline Fixture f5() { return fixture(5, 32, 64, 256, {{3, 6}, {11, 4}}); }  // a benign layer

}  // namespace swage::test
