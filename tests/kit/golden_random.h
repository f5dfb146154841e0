#pragma once
#include <ATen/ops/empty.h>

#include <cstdint>

namespace swage::test {

// fp64 numbers as the reference programs draw them: splitmix64, sums of twelve uniforms less 6.
inline at::Tensor gaussians(uint64_t seed, int64_t rows, int64_t columns) {
  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  double* x = result.mutable_data_ptr<double>();
  const auto next = [&] {
    seed += 0x9E3779B97F4A7C15u;
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
  };
  for (int64_t i = 0; i < result.numel(); ++i) {
    double sum = 0;
    for (int draw = 0; draw < 12; ++draw) sum += next();
    x[i] = sum - 6;
  }
  return result;
}

}  // namespace swage::test
