#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/load/loader.h"
#include "swage/algorithm.h"

namespace swage {

class OpenedModel;

// A step of the recipe with its algorithm and what it wants measured.
struct PlannedStep {
  const Step* step = nullptr;  // of the pipeline, which outlives it
  int64_t index = 0;
  std::string provenance;  // "gptq (swage.gptq 1.0.0)"
  std::shared_ptr<Algorithm> algorithm;
  Needs needs;  // with the stream that the file asks for, and ranges where activations are static
  bool measures = false;  // does the algorithm itself, whatever schemes ask for?
  // The step's walk ends with the block's output that the next block starts from.
  bool leaves_output = false;
};

// Makes the algorithms. Errors of their constructors, and statistics asked for without a stream.
absl::StatusOr<std::vector<PlannedStep>> plan_steps(const Pipeline& pipeline,
                                                    const Catalog& catalog, Loader& loader);

// Refuses a step that measures before one whose model_transform changes the ends of the model, and
// says which order works.
absl::Status check_order(const std::vector<PlannedStep>& steps, const OpenedModel& model,
                         Loader& loader);

// Does any step's model_transform change embedding or head?
absl::StatusOr<bool> changes_ends(const std::vector<PlannedStep>& steps, const OpenedModel& model,
                                  Loader& loader);

// Does any step calibrate on this stream?
bool uses_stream(const std::vector<PlannedStep>& steps, Stream stream);

}  // namespace swage
