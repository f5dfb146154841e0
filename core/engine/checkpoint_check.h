#pragma once
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "core/engine/reporter.h"

namespace swage {

// What is found in a checkpoint of anybody, from disk, without the run that made it.
struct CheckpointVerdict {
  std::vector<std::string> problems;  // it does not hold what it should
  std::vector<std::string> warnings;  // some programs would not take it, or not for the same
  int64_t compressed = 0, kept = 0;   // linears
  int64_t files = 0;                  // compared with the digests of swage_export.json
  bool served = true;  // by the engine that was asked about; why not is among the problems
  // Against another model.
  struct Against {
    int64_t equal = 0, rounded = 0;  // tensors that were kept, bit for bit or in another dtype
    int64_t linears = 0;             // that were compressed
    double mean_error = 0, worst_error = 0;  // relative
    std::string worst;
  };
  Against against;
  bool ok() const { return problems.empty(); }
};

// Every linear decodes to finite values, no scale is 0 over codes that are not, parameters are
// finite, linears that engines join have one scheme, the head is tied or not as config.json says;
// and where swage wrote the folder: every file has the bytes that it had then.
absl::Status check_checkpoint(const OpenedModel& model, Reporter& reporter,
                              CheckpointVerdict* verdict);

// What became of every tensor of `original`, and config.json but for what says how weights are
// stored.
absl::Status check_against(const OpenedModel& model, const OpenedModel& original,
                           const std::set<std::string>& storage_keys, Reporter& reporter,
                           CheckpointVerdict* verdict);

}  // namespace swage
