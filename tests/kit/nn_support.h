#pragma once
#include <ATen/ops/randn.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "swage/nn/decoder.h"

namespace swage::nn {

// What the launcher sets before it starts the engine: rows of a product then do not depend on the
// number of rows.
inline const int kRepeatableProducts = setenv("MKL_CBWR", "AUTO,STRICT", 0);

// Tensors in memory as a checkpoint.
class MemorySource final : public WeightSource {
 public:
  std::map<std::string, at::Tensor, std::less<>> tensors;

  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : tensors) result.push_back(name);
    return result;
  }
  bool has(std::string_view name) const override { return tensors.count(std::string(name)) > 0; }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    auto tensor = read(name);
    if (!tensor.ok()) return tensor.status();
    return tensor->sizes().vec();
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    auto tensor = read(name);
    if (!tensor.ok()) return tensor.status();
    return tensor->scalar_type();
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    const auto it = tensors.find(name);
    if (it == tensors.end())
      return absl::NotFoundError(absl::StrCat("no tensor ", std::string(name)));
    return it->second;
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    auto tensor = read(name);
    if (!tensor.ok()) return tensor.status();
    return tensor->slice(0, begin, end);
  }
};

// A small grouped decoder with every bias, so that nothing hides behind a zero.
inline DecoderDescription small_decoder() {
  DecoderDescription d;
  d.vocab_size = 50;
  d.hidden_size = 24;
  d.intermediate_size = 36;
  d.block_count = 1;
  d.context_length = 64;
  d.heads = 6;
  d.kv_heads = 2;
  d.head_dim = 6;
  d.qkv_bias = d.o_bias = d.mlp_bias = true;
  RopeDescription rope;
  rope.dim = 4;
  d.rope = std::make_shared<const Rope>(rope);
  return d;
}

// Random tensors for block 0, embedding and head of `d`.
inline MemorySource random_weights(const DecoderDescription& d, at::ScalarType type = at::kDouble) {
  MemorySource source;
  const auto put = [&](const std::string& name, std::vector<int64_t> shape, double scale) {
    source.tensors[name] = (at::randn(shape, at::kDouble) * scale).to(type);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    put(d.names.blocks + ".0." + name + ".weight", {out, in}, 0.3);
    put(d.names.blocks + ".0." + name + ".bias", {out}, 0.3);
  };
  for (const std::string& norm : {d.names.blocks + ".0." + d.names.input_norm,
                                  d.names.blocks + ".0." + d.names.post_norm, d.names.final_norm}) {
    put(norm + ".weight", {d.hidden_size}, 1.0);
    put(norm + ".bias", {d.hidden_size}, 0.3);
  }
  linear(d.names.q, d.heads * d.head_dim, d.hidden_size);
  linear(d.names.k, d.kv_heads * d.head_dim, d.hidden_size);
  linear(d.names.v, d.kv_heads * d.head_dim, d.hidden_size);
  linear(d.names.o, d.hidden_size, d.heads * d.head_dim);
  linear(d.names.gate, d.intermediate_size, d.hidden_size);
  linear(d.names.up, d.intermediate_size, d.hidden_size);
  linear(d.names.down, d.hidden_size, d.intermediate_size);
  put(d.names.embedding + ".weight", {d.vocab_size, d.hidden_size}, 1.0);
  put(d.names.head + ".weight", {d.vocab_size, d.hidden_size}, 0.3);
  return source;
}

// Sequences of these lengths with positions from 0 and no tensor yet.
inline Slots sequences(const std::vector<int64_t>& lengths) {
  Slots slots;
  slots.lengths = lengths;
  std::vector<at::Tensor> positions;
  for (int64_t length : lengths) positions.push_back(at::arange(length, at::kLong));
  slots.positions = at::cat(positions);
  return slots;
}

inline std::unique_ptr<Block> make_block(const DecoderDescription& d, const WeightSource& source,
                                         at::ScalarType compute) {
  LoadOptions options;
  options.compute = compute;
  auto block = load_decoder_block(d, {"language", 0}, source, options);
  if (!block.ok()) throw std::runtime_error(std::string(block.status().message()));
  return *std::move(block);
}

}  // namespace swage::nn
