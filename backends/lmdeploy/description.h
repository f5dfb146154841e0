#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/value.h"

// The block "quantization_config" of config.json: int8 or fp8 for all linears.
namespace swage::lmdeploy {

struct Description {
  at::ScalarType codes = at::kChar;         // or Float8_e4m3fn
  at::ScalarType scale_dtype = at::kFloat;  // that scales had; the files have fp32
  std::vector<std::string> unconverted;     // names of modules

  std::shared_ptr<const Codec> weight() const;
  std::shared_ptr<const Codec> activation() const;
};

// InvalidArgument: why LMDeploy does not compute so.
absl::StatusOr<Description> describe(const LinearSummary& linear);
// InvalidArgument: two linears that are described differently.
absl::Status check_alike(const std::vector<LinearSummary>& compressed);

Value to_config(const Description& description);
// InvalidArgument names the key that does not hold, what it is and what was expected.
absl::StatusOr<Description> from_config(const Value& quantization_config);

}  // namespace swage::lmdeploy
