#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/opened_model.h"
#include "swage/block.h"
#include "swage/codec.h"
#include "swage/exporter.h"

namespace swage {

// How one linear of the model ended, and what a run records of it.
struct LinearOutcome {
  LinearSummary summary;
  int64_t bits = 0;        // stored, logical (result.h); of the floats where it was kept
  std::string provenance;  // of the result
  double error = 0;        // of the result's weight, relative (rounding_error.h); 0 where kept
  int64_t zeroed = 0;      // its columns of nothing but zeros that had weights
  int64_t zeroed_rows = 0;
  double largest_lost = 0;  // magnitude of a weight in such rows
  bool was_zero = false;    // no weight but 0 came in
  bool is_zero = false;     // no weight but 0 is left
};
Value to_value(const LinearOutcome& outcome);
absl::StatusOr<LinearOutcome> outcome_from(const std::string& name, const Value& value);

// What the recipe plans for every linear, before any work. Of the ends those that it compresses.
absl::StatusOr<std::vector<LinearSummary>> planned_linears(const Pipeline& pipeline,
                                                           const OpenedModel& model);

// What an exporter is told of a linear that has this result.
LinearSummary summary_of(const Result& result);

// The step whose result stands for a linear; null where it stays in floats.
const Step* deciding_step(const std::vector<Step>& steps, const std::string& linear);

// Rounds to what is stored; true where that changed a value.
bool round_to_storage(std::deque<Parameter>& parameters);

// Why the end stays as it is where steps name other linears only.
const char* end_rule(LinearPlace place);

// Embedding or head that no step compresses, by its rule.
LinearOutcome kept_end(const std::vector<Step>& steps, const ModelEnd& end);

// What became of the block's linears: compressed, or kept and by which rule. Internal: a step that
// should have compressed one emitted nothing for it.
absl::StatusOr<std::vector<LinearOutcome>> settle(Block& block, const std::vector<Step>& steps);

// Rounds what will be stored in floats (norms, biases, kept linears) to its storage dtype, so that
// what is measured is what is served. True when that changed a value.
bool round_to_storage(Block& block);

}  // namespace swage
