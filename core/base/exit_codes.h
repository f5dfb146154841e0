#pragma once
#include <vector>

#include "absl/status/status.h"

namespace swage {

// What the process answers. Stable: scripts depend on it; docs/cli.md lists them.
enum class ExitCode {
  kOk = 0,
  kOther = 1,          // a bug of swage, or an error without a class
  kUsage = 2,          // command line
  kPipeline = 3,       // the pipeline file does not hold
  kInput = 4,          // model, tokenizer, calibration or other data
  kPlugin = 5,         // a plugin was refused or failed
  kVerdictFailed = 6,  // what was compared is not the same: an export and its run, or `forward`
  kResources = 7,      // memory, disk space, input/output
  kInterrupted = 130   // Ctrl-C; `swage resume` continues
};

// The same for the manual and docs/cli.md, in order.
struct ExitMeaning {
  ExitCode code;
  const char* text;
};
const std::vector<ExitMeaning>& exit_meanings();

// `status` with its class of error attached; it survives annotate(). An OK status and one that has
// a class already, also as a fault of a plugin, pass unchanged.
absl::Status with_exit_code(absl::Status status, ExitCode code);

// The attached class, else 5 for a fault of a plugin (call_site.h), else one that follows
// from the status code: CANCELLED 130, RESOURCE_EXHAUSTED and UNAVAILABLE 7, INVALID_ARGUMENT,
// NOT_FOUND, DATA_LOSS, OUT_OF_RANGE, FAILED_PRECONDITION and UNIMPLEMENTED 4, all others 1.
int exit_code(const absl::Status& status);

}  // namespace swage
