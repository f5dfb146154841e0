#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/export_writer.h"
#include "core/engine/run_setup.h"

namespace swage {

// What verification of an exported checkpoint found, from disk.
struct Verdict {
  int64_t linears = 0, tensors = 0;  // decoded and equal to the last bit
  int64_t rounded = 0;       // linears and tensors whose values are rounded once to bf16 or fp16
  int64_t float_inputs = 0;  // linears whose input the export does not quantize
  std::vector<std::string> differences;  // what is not
  int64_t windows = 0;                   // run again through what the export decodes to
  std::string why_no_windows;            // where none was
  double window_difference = 0;  // largest difference of hidden states behind the last block
  double window_relative = 0;    // root mean square of the difference, of that of the run's

  // The export computes what the run measured; then windows must agree exactly.
  bool exact() const { return rounded == 0 && float_inputs == 0; }
  // What window_relative may be: 0; 0.01 behind rounded values; 1 where inputs are not quantized.
  double bound() const;
  bool ok() const { return differences.empty(); }
};
Value to_value(const Verdict& verdict);

// Reads the export again: decodes every linear, reads every tensor by its own name, compares with
// what the run recorded before the exporter had it, names tensors that the run knows nothing of,
// runs the verification windows and compares hidden states with the run's own. Values may be those
// of the run or these rounded once, nothing else. A difference is a verdict, no error; errors are
// files that cannot be read at all.
absl::StatusOr<Verdict> verify_export(const RunSetup& setup, const ExportWriter& writer,
                                      const std::vector<StoredItem>& items, Reporter& reporter);

}  // namespace swage
