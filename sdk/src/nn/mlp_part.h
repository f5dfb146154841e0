#pragma once
#include "nn/part.h"
#include "swage/nn/decoder.h"

namespace swage::nn {

// down(act(gate(x)) · up(x)), or down(act(up(x))) without a gate.
class MlpPart final : public Part {
 public:
  explicit MlpPart(const DecoderDescription& description) : description_(description) {}

  absl::Status load(BlockReader& reader);
  at::Tensor run(size_t index, Slots& slots) const override;

 private:
  FoldTarget output_fold() const;
  at::Tensor widen_rows(const at::Tensor& x) const;
  at::Tensor widen(const at::Tensor& x) const;  // -> the input of down

  DecoderDescription description_;
  Linear *gate_ = nullptr, *up_ = nullptr, *down_ = nullptr;  // a fused gate lies in `up_`
};

}  // namespace swage::nn
