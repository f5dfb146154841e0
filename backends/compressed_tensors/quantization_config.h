#pragma once
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "layout.h"
#include "swage/exporter.h"
#include "swage/value.h"

// The block "quantization_config" of config.json.
namespace swage::compressed_tensors {

// How the files hold one linear.
struct StoredAs {
  Layout layout = Layout::kPacked;
  Quantization quantization;
};

// The block for linears that ended like this: one config group for each kind of quantization. Kept
// linears, the head and `other_matrices` (modules that are no linears of the model, a router) are
// ignored. Null when nothing is quantized.
absl::StatusOr<Value> make_quantization_config(const std::vector<LinearSummary>& linears,
                                               const std::vector<std::string>& other_matrices);

// What the block says about a linear; nothing where it stays in floats. InvalidArgument names the
// key that does not hold, what it is and what was expected.
absl::StatusOr<std::optional<StoredAs>> find_linear(const Value& quantization_config,
                                                    const std::string& linear);

}  // namespace swage::compressed_tensors
