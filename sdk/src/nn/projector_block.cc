// The block between vision and language.
#include "nn/part.h"
#include "swage/nn/vision.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kInput = "projector.input";
constexpr const char* kOutput = "projector.output";

class ProjectorBlock final : public Block {
 public:
  ProjectorBlock(const ProjectorDescription& description, BlockId id)
      : Block(std::move(id)), description_(description) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    const ProjectorDescription& d = description_;
    BlockReader reader(source, options, "", &linears_, &parameters_);
    if (!d.norm.empty())
      SWAGE_RETURN_IF_ERROR(reader.norm(d.norm, NormKind::kLayer, d.norm_eps, d.in, &norm_));
    const bool two = !d.second.empty();
    SWAGE_RETURN_IF_ERROR(reader.linear(d.first, two ? d.middle : d.out, d.in, d.bias, &first_));
    if (two) SWAGE_RETURN_IF_ERROR(reader.linear(d.second, d.out, d.middle, d.bias, &second_));
    add_subset(kInput, first_, input_fold());
    if (!two) return absl::OkStatus();
    FoldTarget none;
    none.why_none = "an activation stands between " + first_->name + " and " + second_->name;
    add_subset(kOutput, second_, std::move(none));
    return absl::OkStatus();
  }

  void run_stage(int64_t stage, Slots& slots) override {
    if (stage == 0) {
      const at::Tensor x = slots.take(kHidden);
      slots[kInput] = norm_.present ? norm_.apply(x) : x;
    } else if (stage == 1) {
      const at::Tensor y = first_->apply(slots.take(kInput));
      if (second_ == nullptr) {
        slots[kHidden] = y;
      } else {
        slots[kOutput] = activate(description_.activation, y);
      }
    } else {
      slots[kHidden] = second_->apply(slots.take(kOutput));
    }
  }

  at::Tensor inspect(int64_t subset, const Slots& slots) override {
    const Linear& linear = subset == 0 ? *first_ : *second_;
    return linear.apply(slots.at(subset == 0 ? kInput : kOutput));
  }

  // Features that take places of the embedding's rows are the language model's stream.
  ResidualSites residual_sites() override {
    if (!description_.writes_stream) return {};
    return {"", {}, {second_ != nullptr ? second_ : first_}};
  }

 private:
  FoldTarget input_fold() const {
    if (norm_.present) return fold_into(norm_);
    FoldTarget none;
    none.why_none = "the vision tower's features are read as they are";
    return none;
  }

  void add_subset(const char* name, Linear* linear, FoldTarget fold) {
    Subset subset;
    subset.name = subset.input = name;
    subset.linears = {linear};
    subset.fold = std::move(fold);
    subsets_.push_back(std::move(subset));
  }

  const ProjectorDescription description_;
  Norm norm_;
  Linear *first_ = nullptr, *second_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Block>> load_projector(const ProjectorDescription& description,
                                                      const BlockId& id, const WeightSource& source,
                                                      const LoadOptions& options) {
  auto block = std::make_unique<ProjectorBlock>(description, id);
  SWAGE_RETURN_IF_ERROR(block->load(source, options));
  return std::unique_ptr<Block>(std::move(block));
}

}  // namespace swage::nn
