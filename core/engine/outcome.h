#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/opened_model.h"
#include "swage/block.h"
#include "swage/exporter.h"

namespace swage {

// How one linear of the model ended, and what a run records of it.
struct LinearOutcome {
  LinearSummary summary;
  int64_t bits = 0;        // stored, logical (compressed_linear.h); of the floats where it was kept
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

// The dtype in which scales are stored for a linear whose weight is stored as `storage`.
at::ScalarType scale_dtype(const LinearScheme& scheme, at::ScalarType storage);

// What the recipe plans for every linear, before any work.
absl::StatusOr<std::vector<LinearSummary>> planned_linears(const Pipeline& pipeline,
                                                           const OpenedModel& model);

// Rounds to what is stored; true where that changed a value.
bool round_to_storage(std::deque<Parameter>& parameters);

// What became of the block's linears: compressed, or kept and by which rule. Internal: a step that
// should have compressed one emitted nothing for it.
absl::StatusOr<std::vector<LinearOutcome>> settle(Block& block, const std::vector<Step>& steps);

// Rounds what will be stored in floats (norms, biases, kept linears) to its storage dtype, so that
// what is measured is what is served. True when that changed a value.
bool round_to_storage(Block& block);

}  // namespace swage
