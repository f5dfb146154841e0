#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/drawn_data.h"
#include "core/engine/opened_model.h"
#include "core/engine/reporter.h"
#include "core/engine/token_stream.h"
#include "swage/evaluator.h"

namespace swage {

// The evaluators of a run: what they want to run, and, once their streams stand behind the last
// block, what they make of the logits.
class Evaluation {
 public:
  // Makes the evaluators and asks for their sequences; equal sets are run once.
  static absl::StatusOr<Evaluation> prepare(const std::vector<EvaluateSpec>& specs,
                                            const OpenedModel& model, Loader& loader,
                                            int64_t micro_batch);

  struct Set {
    SequenceSet sequences;
    std::vector<size_t> evaluators;  // that read it
    bool wants_original = false;
  };
  const std::deque<Set>& sets() const { return sets_; }
  bool empty() const { return evaluators_.empty(); }
  const std::vector<DrawnData>& drawn() const { return drawn_; }  // one an evaluator, in order

  // Logits of set `index`, piece by piece, to its evaluators. `original` and `compressed` are the
  // streams behind the last block, null where there is none; each goes through its own head.
  struct Side {
    const TokenStream* stream = nullptr;
    Head* head = nullptr;
  };
  absl::Status consume(size_t index, const std::string& adapter, const Side& original,
                       const Side& compressed, Reporter& reporter);
  // name -> figures, as result.json holds them: {"original": {…}, "compressed": {…}}.
  absl::StatusOr<Value> report();

 private:
  struct Entry {
    const EvaluateSpec* spec;
    std::shared_ptr<Evaluator> evaluator;
  };
  absl::Status consume(const LogitsView& view, const Set& set);
  std::vector<Entry> evaluators_;
  std::vector<DrawnData> drawn_;
  int64_t image_token_ = -1, vocabulary_ = 0;
  std::deque<Set> sets_;  // streams point into it
};

}  // namespace swage
