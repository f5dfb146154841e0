#include "nn/decoder_block.h"

#include "nn/attention_part.h"
#include "nn/experts_part.h"
#include "nn/latent_attention_part.h"
#include "nn/mlp_part.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

template <class P>
absl::Status load_part(const DecoderDescription& description, BlockReader& reader,
                       std::unique_ptr<Part>* slot) {
  auto part = std::make_unique<P>(description);
  SWAGE_RETURN_IF_ERROR(part->load(reader));
  *slot = std::move(part);
  return absl::OkStatus();
}

}  // namespace

absl::Status DecoderBlock::load(const WeightSource& source, const LoadOptions& options) {
  const DecoderDescription& d = description_;
  BlockReader reader(source, options, prefix_of(d, id()), &linears_, &parameters_);
  SWAGE_RETURN_IF_ERROR(load_norms(reader));
  SWAGE_RETURN_IF_ERROR(d.latent ? load_part<LatentAttentionPart>(d, reader, &attention_)
                                 : load_part<AttentionPart>(d, reader, &attention_));
  SWAGE_RETURN_IF_ERROR(d.experts ? load_part<ExpertsPart>(d, reader, &mlp_)
                                  : load_part<MlpPart>(d, reader, &mlp_));
  arrange();
  return absl::OkStatus();
}

absl::Status DecoderBlock::load_norms(BlockReader& reader) {
  const DecoderDescription& d = description_;
  const std::pair<const std::string&, Norm&> norms[] = {{d.names.input_norm, input_norm_},
                                                        {d.names.post_norm, post_norm_},
                                                        {d.names.attention_norm, attention_norm_},
                                                        {d.names.mlp_norm, mlp_norm_}};
  for (const auto& [name, norm] : norms) {
    if (name.empty()) continue;
    SWAGE_RETURN_IF_ERROR(reader.norm(name, d.norm, d.norm_eps, d.hidden_size, &norm));
  }
  if (d.output_scale == OutputScale::kNone) return absl::OkStatus();
  const int64_t width = d.output_scale == OutputScale::kChannel ? d.hidden_size : 1;
  SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.attention_scale, {width}, &attention_scale_));
  return reader.parameter(d.names.mlp_scale, {width}, &mlp_scale_);
}

bool DecoderBlock::shares_norm() const {
  return description_.form == BlockForm::kParallel && description_.names.post_norm.empty();
}

FoldTarget DecoderBlock::input_fold(const Norm& norm, const Part& part) const {
  if (description_.form == BlockForm::kPostNorm || description_.residual_after_norm ||
      !norm.present) {
    FoldTarget none;
    none.why_none =
        "the residual stream reads what " + part.subsets.front().linears.front()->name + " reads";
    return none;
  }
  return fold_into(norm);
}

void DecoderBlock::arrange() {
  attention_->subsets.front().fold = input_fold(input_norm_, *attention_);
  if (shares_norm()) {
    mlp_->subsets.front().input = attention_->subsets.front().input;
  } else {
    mlp_->subsets.front().fold = input_fold(post_norm_, *mlp_);
  }
  description_.form == BlockForm::kParallel ? add_parallel() : add_sequential();
  if (description_.leaves.empty()) return;
  stages_.back() = [this, run = std::move(stages_.back())](Slots& slots) {
    run(slots);
    slots[description_.leaves] = slots.at(kHidden);
  };
}

// The stages after the input of subset `first` of the part, up to its output in the residual
// stream.
void DecoderBlock::add_part(const Part& part, const Norm& out_norm, const Parameter* scale,
                            size_t first) {
  for (size_t i = first; i < part.subsets.size(); ++i) {
    subsets_.push_back(part.subsets[i]);
    inspections_.push_back([&part, i](const Slots& slots) { return part.output(i, slots); });
    const bool last = i + 1 == part.subsets.size();
    stages_.push_back([this, &part, &out_norm, scale, i, last](Slots& slots) {
      at::Tensor output = part.run(i, slots);
      if (last) add_to_hidden(std::move(output), out_norm, scale, slots);
    });
  }
}

void DecoderBlock::add_sequential() {
  const bool post = description_.form == BlockForm::kPostNorm;
  stages_.push_back([this, post](Slots& slots) {
    const at::Tensor& hidden = slots.at(kHidden);
    const at::Tensor x = post || !input_norm_.present ? hidden : input_norm_.apply(hidden);
    slots[attention_->subsets.front().input] = x;
    if (description_.residual_after_norm) slots[kHidden] = x;
  });
  add_part(*attention_, attention_norm_, attention_scale_);
  stages_.back() = [this, post, run = std::move(stages_.back())](Slots& slots) {
    run(slots);
    if (post) slots[kHidden] = input_norm_.apply(slots.at(kHidden));
    const at::Tensor& hidden = slots.at(kHidden);
    const at::Tensor x = post || !post_norm_.present ? hidden : post_norm_.apply(hidden);
    if (!post && description_.residual_after_norm) slots[kHidden] = x;
    slots[mlp_->subsets.front().input] = x;
    mlp_->prepare(slots);
  };
  add_part(*mlp_, mlp_norm_, mlp_scale_);
  if (!post) return;
  stages_.back() = [this, run = std::move(stages_.back())](Slots& slots) {
    run(slots);
    slots[kHidden] = post_norm_.apply(slots.at(kHidden));
  };
}

void DecoderBlock::add_parallel() {
  const bool shared = shares_norm();
  stages_.push_back([this, shared](Slots& slots) {
    slots[attention_->subsets.front().input] = input_norm_.apply(slots.at(kHidden));
    if (!shared) slots[mlp_->subsets.front().input] = post_norm_.apply(slots.at(kHidden));
    mlp_->prepare(slots);
  });
  add_part(*attention_, attention_norm_, attention_scale_);
  if (!shared) return add_part(*mlp_, mlp_norm_, mlp_scale_);
  // One subset for all that read the norm: a fold has to reach all of them.
  Subset& input = subsets_.front();
  const std::vector<Linear*>& more = mlp_->subsets.front().linears;
  input.linears.insert(input.linears.end(), more.begin(), more.end());
  inspections_.front() = [this](const Slots& slots) {
    return attention_->output(0, slots) + mlp_->output(0, slots);
  };
  attention_->shares_input = true;
  stages_[1] = [this](Slots& slots) {
    attention_->run(0, slots);
    mlp_->run(0, slots);
  };
  add_part(*mlp_, mlp_norm_, mlp_scale_, 1);
}

void DecoderBlock::add_to_hidden(at::Tensor output, const Norm& out_norm, const Parameter* scale,
                                 Slots& slots) const {
  // The output is ours to write to; the incoming hidden state may be the caller's.
  if (out_norm.present) output = out_norm.apply(output);
  if (scale != nullptr) {
    const bool gate = description_.output_scale == OutputScale::kTanhGate;
    output = output * (gate ? scale->value.tanh() : scale->value);
  }
  if (description_.residual_scale != 1.0) output.mul_(description_.residual_scale);
  slots[kHidden] = output.add_(slots.at(kHidden));
}

void DecoderBlock::run_stage(int64_t stage, Slots& slots) {
  stages_.at(static_cast<size_t>(stage))(slots);
}

at::Tensor DecoderBlock::inspect(int64_t subset, const Slots& slots) {
  return inspections_.at(static_cast<size_t>(subset))(slots);
}

ResidualSites DecoderBlock::residual_sites() {
  ResidualSites sites;
  // A tower before the language's has a stream of its own.
  if (id().tower != kLanguage) return sites;
  if (attention_norm_.present || mlp_norm_.present) {
    sites.why_none = "norms with a weight for each channel stand behind attention and MLP";
  } else if (description_.form == BlockForm::kPostNorm || description_.residual_after_norm) {
    sites.why_none = "it passes through the norms itself";
  } else if (description_.norm == NormKind::kLayerPlain) {
    sites.why_none = "its norms have no weights";
  }
  if (!sites.why_none.empty()) return sites;
  sites.readers = {0};
  if (!shares_norm()) sites.readers.push_back(attention_->subsets.size());
  sites.writers = attention_->writers;
  sites.writers.insert(sites.writers.end(), mlp_->writers.begin(), mlp_->writers.end());
  return sites;
}

std::string prefix_of(const DecoderDescription& description, const BlockId& id) {
  const DecoderDescription::Names& names = description.names;
  return names.block.empty() ? absl::StrCat(names.blocks, ".", id.index, ".") : names.block + ".";
}

absl::StatusOr<std::unique_ptr<Block>> load_decoder_block(const DecoderDescription& description,
                                                          const BlockId& id,
                                                          const WeightSource& source,
                                                          const LoadOptions& options) {
  auto block = std::make_unique<DecoderBlock>(as_stored(description, source), id);
  SWAGE_RETURN_IF_ERROR(block->load(source, options));
  return std::unique_ptr<Block>(std::move(block));
}

}  // namespace swage::nn
