#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/integer_form.h"
#include "swage/value.h"

// The block "quantization_config" of config.json: one scheme for all linears.
namespace swage::awq {

struct Description {
  store::IntegerForm form;
  // Dtype that the scales had; Undefined: that of the file. AutoAWQ knows fp16 alone.
  at::ScalarType scale_dtype = at::ScalarType::Undefined;
  std::vector<std::string> unconverted;  // parts of names

  bool leaves(const std::string& module) const;
};

// How a planned or finished linear is described. InvalidArgument: why AWQ has no words for it.
absl::StatusOr<Description> describe(const LinearSummary& linear);
// InvalidArgument: two linears that are described differently.
absl::Status check_alike(const std::vector<LinearSummary>& compressed);

// Parts of names that match all of `floats` and none of `compressed`: most readers leave a module
// whose name holds one of them, transformers one whose name begins or ends with it.
// InvalidArgument: the name of a module that is left is part of a compressed one's.
absl::StatusOr<std::vector<std::string>> names_to_leave(const std::vector<std::string>& floats,
                                                        const std::vector<std::string>& compressed);

Value to_config(const Description& description);
// InvalidArgument names the key that does not hold, what it is and what was expected.
absl::StatusOr<Description> from_config(const Value& quantization_config);

}  // namespace swage::awq
