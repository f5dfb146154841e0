#pragma once
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "swage/codec.h"
#include "swage/quant/gguf_blocks.h"

// What the tests of GGUF's formats share.
namespace swage::testing_gguf {

using CodecPointer = std::shared_ptr<const Codec>;

inline const std::vector<std::string>& block_formats() {
  static const std::vector<std::string> all = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl",
                                               "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"};
  return all;
}

inline CodecPointer codec_of(const std::string& format, const std::string& range = "minmax") {
  auto codec = make_codec({format, {{"range", range}}});
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *std::move(codec);
}

// Deterministic numbers, about normal.
inline at::Tensor gaussian(int64_t rows, int64_t columns, uint64_t seed, double width = 0.05) {
  at::Tensor x = at::empty({rows, columns}, at::kDouble);
  double* out = x.mutable_data_ptr<double>();
  uint64_t state = seed * 2862933555777941757u + 3037000493u;
  for (int64_t i = 0; i < x.numel(); ++i) {
    double sum = -6;
    for (int k = 0; k < 12; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(state >> 40) / 16777216.0;
    }
    out[i] = width * sum;
  }
  return x.to(at::kFloat);
}

// Every bit is the same, the signs of zeros too.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const auto words = [](const at::Tensor& t) {
    const auto type = t.element_size() == 8   ? at::kLong
                      : t.element_size() == 4 ? at::kInt
                      : t.element_size() == 2 ? at::kShort
                                              : at::kByte;
    return t.contiguous().view(type);
  };
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         at::equal(words(a), words(b));
}

inline bool same_parts(const Parts& a, const Parts& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a) {
    if (!part(b, name).defined() || !same_bits(tensor, part(b, name))) return false;
  }
  return true;
}

inline at::Tensor bytes_of(const std::vector<int>& values) {
  at::Tensor bytes = at::empty({1, static_cast<int64_t>(values.size())}, at::kByte);
  for (size_t i = 0; i < values.size(); ++i)
    bytes.mutable_data_ptr<uint8_t>()[i] = static_cast<uint8_t>(values[i]);
  return bytes;
}

template <class T>
at::Tensor row_of(const std::vector<T>& values, at::ScalarType type) {
  std::vector<int64_t> wide(values.begin(), values.end());
  return at::tensor(wide, at::kLong).to(type).unsqueeze(0);
}

}  // namespace swage::testing_gguf
