#pragma once
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "core/engine/end_block.h"
#include "core/engine/journal.h"
#include "core/engine/model_ends.h"
#include "core/engine/reference_cache.h"
#include "core/engine/reporter.h"
#include "core/engine/run_record.h"
#include "core/engine/run_setup.h"

namespace swage {

// One pass from embedding to head: every block is read once, all streams pass through it, all steps
// work on it, its result goes to all exports, the journal commits. Begins where the journal ends.
class Sweep {
 public:
  // All references outlive the sweep.
  Sweep(RunSetup& setup, Journal& journal, Reporter& reporter);

  // Cancelled when the user asked to stop: what is finished is committed.
  absl::Status run();

  // Behind the last block, once run() is done: streams of the evaluation, and both ends.
  const TokenStream* find(Role role, const SequenceSet& sequences) const;
  ModelEnds& ends() { return ends_; }

 private:
  absl::Status make_streams(bool with_calibration);
  TokenStream* stream(Role role, const SequenceSet& sequences);
  absl::StatusOr<int64_t> committed_blocks();
  absl::Status begin(int64_t done);
  absl::Status pass_missing_references(const std::string& state, const std::string& tower);
  absl::Status enter_tower(const std::string& tower);
  absl::Status block(Block& block, int64_t index);
  absl::Status await_mended(const absl::Status& refused);
  absl::Status renew_plugins();
  absl::Status run_steps(Block& block, bool last, RunRecord* record);
  absl::Status pass_compressed(Block& block, bool last);
  absl::Status write_exports(Block& block, RunRecord* record);
  absl::Status commit(const BlockId& id, int64_t index, RunRecord* record);
  // In sweep_ends.cc.
  absl::Status write_head();
  bool is_linear(LinearPlace place) const;
  template <class Part>
  absl::StatusOr<std::unique_ptr<EndBlock>> end_of(const std::shared_ptr<Part>& part) const;
  absl::Status work_on(EndBlock& end, RunRecord* record);
  absl::StatusOr<std::unique_ptr<EndBlock>> work_on_head(const std::shared_ptr<Head>& head,
                                                         RunRecord* record);
  absl::StatusOr<std::unique_ptr<EndBlock>> tie_head(const std::shared_ptr<Head>& head);
  absl::Status write_end(const std::string& part, EndBlock* end,
                         const std::deque<Parameter>& parameters, RunRecord* record);
  void drop_calibration();
  // Calibration ends behind the last block, unless the head is measured, too.
  bool ends_calibration(int64_t index) const {
    return index + 1 == static_cast<int64_t>(blocks_.size()) && !setup_.measures_head();
  }
  absl::Status record_parts(const std::string& part, RunRecord* record);

  RunSetup& setup_;
  Journal& journal_;
  Reporter& reporter_;
  ModelEnds ends_;
  ReferenceCache cache_;
  std::vector<BlockId> blocks_;
  std::vector<TokenStream> streams_;
  bool calibration_left_ = false;  // the last walk left the compressed calibration behind the block
};

}  // namespace swage
