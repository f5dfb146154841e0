#pragma once
#include "nn/part.h"
#include "swage/nn/decoder.h"

namespace swage::nn {

// Multi-head latent attention, written out: keys and values are widened again, nothing is absorbed.
class LatentAttentionPart final : public Part {
 public:
  explicit LatentAttentionPart(const DecoderDescription& description)
      : description_(description), latent_(*description.latent) {}

  absl::Status load(BlockReader& reader);
  at::Tensor run(size_t index, Slots& slots) const override;

 private:
  absl::Status load_queries(BlockReader& reader);
  void add_subsets();
  void narrow(Slots& slots) const;
  at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys_and_values,
                    const at::Tensor& rotated_key, const Slots& slots) const;

  DecoderDescription description_;
  LatentAttention latent_;
  Linear *q_ = nullptr, *q_a_ = nullptr, *q_b_ = nullptr;  // q, or q_b behind q_a
  Linear *kv_a_ = nullptr, *kv_b_ = nullptr, *o_ = nullptr;
  Norm q_norm_, kv_norm_;
};

}  // namespace swage::nn
