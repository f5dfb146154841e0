#pragma once
#include <vector>

#include "absl/status/status.h"
#include "core/config/pipeline.h"
#include "core/engine/opened_model.h"
#include "core/serve/served.h"
#include "swage/exporter.h"

namespace swage {

ServedLinear served_linear(const LinearSummary& linear);

// Heads of attention as config.json states them; 0 where it does not.
ServedModel served_model(const std::vector<LinearSummary>& planned, const Value& config);

// What the engine would refuse of a checkpoint that the exporter `use` writes, "vLLM 0.33: …".
std::vector<std::string> serve_problems(const ServeSpec& serve, const std::string& use,
                                        const std::vector<LinearSummary>& planned,
                                        const OpenedModel& model);

// What the engine that an export names would refuse of it, or read as something else: an error of
// the pipeline file. OK where it names none.
absl::Status check_serve(const ExportSpec& spec, const std::vector<LinearSummary>& planned,
                         const OpenedModel& model);

}  // namespace swage
