#pragma once
#include "nn/part.h"
#include "swage/nn/attention.h"
#include "swage/nn/decoder.h"

namespace swage::nn {

// Grouped-query attention: q, k, v (one or three linears), head norms, rotation, softmax, o.
class AttentionPart final : public Part {
 public:
  explicit AttentionPart(const DecoderDescription& description) : description_(description) {}

  absl::Status load(BlockReader& reader);
  at::Tensor run(size_t index, Slots& slots) const override;
  KeySites key_sites() const override;

 private:
  struct Heads {
    at::Tensor q, k, v;  // [tokens, heads, head_dim]
  };

  absl::Status load_head_norms(BlockReader& reader, const std::string& name, int64_t heads,
                               std::vector<Norm>& norms);
  at::Tensor value_rows() const;  // the row of v, or of the fused linear, for every channel of o
  Heads project(const at::Tensor& x) const;
  at::Tensor normalize(const std::vector<Norm>& norms, const at::Tensor& heads) const;
  std::vector<int64_t> lengths(const Slots& slots) const;
  AttentionRule rule(const Slots& slots, const at::Tensor& like) const;
  at::Tensor attend(const at::Tensor& x, const Slots& slots) const;
  at::Tensor attend_apart(const Heads& heads, const Slots& slots) const;

  DecoderDescription description_;
  Linear *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *qkv_ = nullptr, *o_ = nullptr;
  std::vector<Norm> q_norms_, k_norms_;  // none, one for all heads, or one each
};

}  // namespace swage::nn
