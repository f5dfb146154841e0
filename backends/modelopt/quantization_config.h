#pragma once
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "algorithm.h"
#include "swage/exporter.h"
#include "swage/value.h"

// What the files say of how linears are stored.
namespace swage::modelopt {

// hf_quant_config.json.
absl::StatusOr<Value> make_hf_quant_config(const ExportContext& context);
// The same as config.json has it, in the words of compressed-tensors, with a key of our own
// (`scale_dtype`) where scales of integers had fewer bits than the file's.
absl::StatusOr<Value> make_quantization_config(const ExportContext& context);

// What config.json's says about a linear; nothing where it stays in floats. InvalidArgument names
// the key that does not hold.
absl::StatusOr<std::optional<Quantization>> find_linear(const Value& quantization_config,
                                                        const std::string& linear);

}  // namespace swage::modelopt
