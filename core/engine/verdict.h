#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/export_writer.h"
#include "core/engine/run_setup.h"

namespace swage {

// What verification of an exported checkpoint found, from disk.
struct Verdict {
  int64_t linears = 0, tensors = 0;      // decoded and equal to the last bit
  std::vector<std::string> differences;  // what is not
  int64_t windows = 0;                   // run again through what the export decodes to
  double window_difference = 0;  // largest difference of hidden states behind the last block
  bool exact =
      true;  // the export holds what the run measured with; then windows must agree exactly

  bool ok() const { return differences.empty(); }
};
Value to_value(const Verdict& verdict);

// Reads the export again: decodes every linear, compares digests with what the run recorded, runs
// the verification windows and compares hidden states with the run's own. A difference is a
// verdict, no error; errors are files that cannot be read at all.
absl::StatusOr<Verdict> verify_export(const RunSetup& setup, const ExportWriter& writer,
                                      const std::vector<StoredItem>& items, Reporter& reporter);

}  // namespace swage
