#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/engine/block_watch.h"
#include "core/engine/codec_book.h"
#include "core/engine/planned_step.h"
#include "core/engine/reporter.h"
#include "core/engine/stage_walk.h"

namespace swage {

// One step at work on one block: what its algorithm sees and may do.
class StepRun {
 public:
  struct Input {
    const TokenStream* stream = nullptr;  // null: the step measures nothing
    View view = View::kFloat;             // weights that the walk passes through
    bool wants_output = false;            // walk through the last stage
    int64_t experts_seen = 0;             // CalibrationSpec
    int64_t expert_tokens = 0;
  };
  // All references outlive the object.
  StepRun(const PlannedStep& planned, Block& block, const Input& input, const std::string& adapter,
          int64_t seed, Reporter& reporter);

  absl::Status transform();

  // The micro-batches behind the block as the walk left them; empty when it did not go that far.
  std::vector<Slots>& output() { return output_; }
  // Nothing was emitted, folded or written after the walk had ended.
  bool output_is_final() const {
    return !output_.empty() && changes_ == changes_at_output_ && digest() == digest_at_output_;
  }
  // Of the floats as the step left them, and as they were when output() was taken (BlockWatch).
  std::string digest() const { return watch_.digest(); }
  const std::string& digest_at_output() const { return digest_at_output_; }
  const std::vector<std::string>& notes() const { return notes_; }
  // Tokens that each part of a mixture was measured on; empty where there is none.
  const Value::Table& expert_tokens() const { return expert_tokens_; }

 private:
  template <class Base>
  class Context;
  class SubsetRun;
  class BlockRun;
  struct Range {
    float minimum, maximum;
    at::Tensor histogram;
  };

  absl::Status walk(const std::function<absl::Status(SubsetContext&)>& visit);
  absl::Status walk_stages(const std::function<absl::Status(SubsetContext&)>& visit);
  absl::Status go_back(int64_t index);
  std::vector<const Linear*> ahead() const;
  absl::Status visit_subset(int64_t index,
                            const std::function<absl::Status(SubsetContext&)>& visit);
  absl::Status visit_parts(int64_t index, const std::function<absl::Status(SubsetContext&)>& visit);
  absl::Status visit_measured(Subset& subset, int64_t index, SubsetStats stats,
                              const std::function<absl::Status(SubsetContext&)>& visit);
  std::vector<Linear*> work_of(
      const Subset& subset) const;  // the linears to which the step applies
  bool starved(const Subset& subset, const SubsetStats& stats);
  absl::Status round_to_nearest(const Subset& subset, int64_t tokens);
  absl::Status emit(Linear& linear, Result result);
  absl::Status check_emitted(const Linear& linear, const Result& result);
  absl::Status check_scheme(const Linear& linear, const Result& result) const;
  void remember(const std::vector<Linear*>& linears, const SubsetStats& stats);
  absl::Status add_activation(const Linear& linear, Result& result) const;
  absl::Status fold(Subset& subset, const at::Tensor& scale, SubsetStats& stats);
  void note(std::string_view text);
  uint64_t random(int64_t subset, uint64_t counter) const;
  bool applies(const Linear& linear) const;
  LinearCodecs codecs(const Linear& linear) const;
  Target target(const Linear& linear) const;
  std::vector<at::Tensor> fused_with(const Linear& linear) const;

  const PlannedStep& planned_;
  Block& block_;
  const Input input_;
  const std::string& adapter_;
  const int64_t seed_;
  Reporter& reporter_;
  std::unique_ptr<StageWalk> walk_;  // while the block is walked
  std::map<const Linear*, Range> ranges_;
  std::map<const Linear*, at::Tensor> importance_;  // of its columns, where its scheme asks for it
  std::vector<Slots> output_;
  int64_t changes_ = 0, changes_at_output_ = 0;
  std::string digest_at_output_;
  BlockWatch watch_;
  bool walks_ = false;
  bool wrote_ = false;  // something that the walk has passed, since it last went back
  int64_t at_ = 0;      // subset at work
  std::set<const Linear*> emitted_;
  std::vector<std::string> notes_;
  Value::Table expert_tokens_;
};

}  // namespace swage
