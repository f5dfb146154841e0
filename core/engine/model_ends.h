#pragma once
#include <memory>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "core/engine/planned_step.h"
#include "core/engine/reporter.h"

namespace swage {

// Embedding and head: as loaded, for reference streams, and as the steps' model_transform left
// them, for all others. Loaded when asked for; only what a step has asked for is kept.
class ModelEnds {
 public:
  ModelEnds(const OpenedModel& model, int64_t seed) : model_(model), seed_(seed) {}

  // Calls model_transform of every step, in order.
  absl::Status transform(const std::vector<PlannedStep>& steps, Reporter& reporter);

  // Steps change the embedding of the language tower only.
  absl::StatusOr<std::shared_ptr<Embedding>> embedding(const std::string& tower,
                                                       bool transformed) const;
  absl::StatusOr<std::shared_ptr<Head>> head(bool transformed) const;
  // Did this step's model_transform look at the model? Then its algorithm may remember what it saw.
  bool looked(const PlannedStep& step) const { return looked_.count(step.index) > 0; }
  // What a step made of the head is the transformed one from now on.
  void keep(std::shared_ptr<Head> head);
  // The engine itself changed the transformed embedding.
  void accept() { digest_ = digest(); }
  bool embedding_transformed() const { return embedding_ != nullptr; }
  bool head_transformed() const { return head_ != nullptr; }

 private:
  class Context;
  absl::Status check_parameters() const;
  std::string digest() const;
  absl::Status check_untouched() const;

  const OpenedModel& model_;
  const int64_t seed_;
  std::set<int64_t> looked_;              // indices of steps
  std::shared_ptr<Embedding> embedding_;  // null: no step asked for it
  std::shared_ptr<Head> head_;
  std::deque<Parameter> embedding_form_, head_form_;  // names and shapes as loaded
  std::string digest_;                                // of both, as transform() left them
};

}  // namespace swage
