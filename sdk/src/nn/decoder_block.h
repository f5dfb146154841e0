#pragma once
#include <string>

#include "swage/nn/decoder.h"

namespace swage::nn {

class DecoderBlock final : public Block {
 public:
  DecoderBlock(DecoderDescription description, BlockId id)
      : Block(std::move(id)), description_(std::move(description)) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options);
  void run_stage(int64_t stage, Slots& slots) override;
  at::Tensor inspect(int64_t subset, const Slots& slots) override;

 private:
  absl::Status load_norm(const WeightSource& source, const std::string& module,
                         const LoadOptions& options, Norm& norm);
  void make_subsets();
  at::Tensor attend(const at::Tensor& x,
                    const Slots& slots) const;  // normalized rows -> input of o
  at::Tensor widen(const at::Tensor& x) const;  // normalized rows -> input of down

  DecoderDescription description_;
  Norm input_norm_, post_norm_;
  Linear *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *o_ = nullptr;
  Linear *gate_ = nullptr, *up_ = nullptr, *down_ = nullptr;
};

}  // namespace swage::nn
