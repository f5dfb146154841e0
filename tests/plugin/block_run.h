#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "swage/algorithm.h"
#include "swage/stats/accumulator.h"
#include "swage/status.h"
#include "swage/transform/fold.h"

// What the engine does with one block, for one micro-batch in memory: walks the stages on the float
// weights, hands statistics to an algorithm and carries out what it asks for.
namespace swage::testing_support {

template <class Base>
class TestContext : public Base {
 public:
  TestContext(Block& block, const Target& target, std::vector<std::string>* notes)
      : block_(block), target_(target), notes_(notes) {}

  Block& block() override { return block_; }
  Target target(const Linear&) const override { return target_; }
  std::shared_ptr<const Codec> activation_codec(const Linear&) const override { return nullptr; }
  absl::Status emit(Linear& linear, Result result) override {
    return linear.set_result(std::move(result));
  }
  void note(std::string_view text) override { notes_->emplace_back(text); }
  uint64_t random(uint64_t counter) const override { return counter; }

 protected:
  Block& block_;
  Target target_;
  std::vector<std::string>* notes_;
};

class SubsetRun final : public TestContext<SubsetContext> {
 public:
  SubsetRun(Block& block, const Target& target, std::vector<std::string>* notes, int64_t index,
            Slots& batch, const Needs& needs)
      : TestContext(block, target, notes), index_(index), batch_(batch) {
    const at::Tensor& x = batch.at(subset().input);
    stats::Accumulator sums(needs, x.size(1), x.scalar_type(), at::kCPU);
    sums.add(x, batch.lengths);
    stats_ = sums.finish();
    stats_.sample = batch;
  }
  Subset& subset() override { return block_.subsets()[static_cast<size_t>(index_)]; }
  const std::vector<Linear*>& linears() override { return subset().linears; }
  const SubsetStats& stats() override { return stats_; }
  at::Tensor inspect(const Slots& sample) override { return block_.inspect(index_, sample); }
  absl::Status fold(const at::Tensor& scale) override {
    SWAGE_ASSIGN_OR_RETURN(folded, transform::fold_scale(subset(), scale));
    at::Tensor& x = batch_[subset().input];
    x = x / folded.to(x.scalar_type());
    const at::Tensor inverse = folded.to(at::kDouble).reciprocal();
    if (stats_.hessian.defined()) {
      stats_.hessian =
          (stats_.hessian * inverse * inverse.unsqueeze(1)).to(stats_.hessian.scalar_type());
    }
    return absl::OkStatus();
  }

  at::Tensor folded;

 private:
  int64_t index_;
  Slots& batch_;
  SubsetStats stats_;
};

class BlockRun final : public TestContext<BlockContext> {
 public:
  BlockRun(Block& block, const Target& target, Slots batch, const Needs& needs)
      : TestContext(block, target, &notes),
        inputs_{batch},
        batch_(std::move(batch)),
        needs_(needs) {}

  const std::vector<Slots>& inputs() override { return inputs_; }
  absl::Status for_each_subset(const std::function<absl::Status(SubsetContext&)>& visit) override {
    for (int64_t i = 0; i + 1 < block_.stage_count(); ++i) {
      block_.run_stage(i, batch_);
      SubsetRun subset(block_, target_, notes_, i, batch_, needs_);
      SWAGE_RETURN_IF_ERROR(visit(subset));
      folded.push_back(subset.folded);
    }
    return absl::OkStatus();
  }

  std::vector<at::Tensor> folded;  // by each subset; undefined where none was
  std::vector<std::string> notes;

 private:
  std::vector<Slots> inputs_;
  Slots batch_;
  Needs needs_;
};

// norm -> linear: the input is the hidden state times the norm's weight, and the linear itself is
// what a search compares.
class OneLinearBlock final : public Block {
 public:
  explicit OneLinearBlock(const at::Tensor& weight) : Block({"language", 0}) {
    Parameter norm;
    norm.name = "norm.weight";
    norm.value = at::ones({weight.size(1)}, weight.options());
    norm.storage = weight.scalar_type();
    parameters_.push_back(std::move(norm));
    linears_.emplace_back();
    linears_.back().name = "model.layers.0.mlp.down_proj";
    linears_.back().weight = weight.clone();
    subsets_.resize(1);
    subsets_[0].name = "mlp.output";
    subsets_[0].input = "x";
    subsets_[0].linears = {&linears_.back()};
    subsets_[0].fold.kind = FoldTarget::Kind::kNorm;
    subsets_[0].fold.norm_weight = &parameters_.back();
  }
  void run_stage(int64_t stage, Slots& slots) override {
    if (stage == 0) slots["x"] = slots.at(kHidden) * parameters_[0].value;
    if (stage == 1) slots[kHidden] = linears_[0].apply(slots.take("x"));
  }
  at::Tensor inspect(int64_t, const Slots& slots) override {
    return linears_[0].apply(slots.at("x"));
  }
  Linear& linear() { return linears_[0]; }
};

}  // namespace swage::testing_support
