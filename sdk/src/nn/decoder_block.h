#pragma once
#include <functional>
#include <memory>
#include <string>

#include "nn/part.h"
#include "swage/nn/decoder.h"

namespace swage::nn {

// In front of the names of a block's modules.
std::string prefix_of(const DecoderDescription& description, const BlockId& id);

// Attention and MLP on a residual stream, in one of the forms.
class DecoderBlock final : public Block {
 public:
  DecoderBlock(DecoderDescription description, BlockId id)
      : Block(std::move(id)), description_(std::move(description)) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options);
  void run_stage(int64_t stage, Slots& slots) override;
  at::Tensor inspect(int64_t subset, const Slots& slots) override;
  ResidualSites residual_sites() override;
  KeySites key_sites() override { return attention_->key_sites(); }

 private:
  absl::Status load_norms(BlockReader& reader);
  bool shares_norm() const;
  void arrange();
  void add_part(const Part& part, const Norm& out_norm, const Parameter* scale, size_t first = 0);
  void add_sequential();
  void add_parallel();
  void add_to_hidden(at::Tensor output, const Norm& out_norm, const Parameter* scale,
                     Slots& slots) const;
  FoldTarget input_fold(const Norm& norm, const Part& part) const;

  DecoderDescription description_;
  Norm input_norm_, post_norm_, attention_norm_, mlp_norm_;
  Parameter *attention_scale_ = nullptr, *mlp_scale_ = nullptr;
  std::unique_ptr<Part> attention_, mlp_;
  std::vector<std::function<void(Slots&)>> stages_;
  std::vector<std::function<at::Tensor(const Slots&)>> inspections_;
};

}  // namespace swage::nn
