#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/exporter.h"

// The quant_algo of a linear.
namespace swage::modelopt {

enum class Algorithm {
  kFp8,          // one scale for the tensor, inputs with a static one
  kFp8PerToken,  // a scale for each row, inputs with one for each token
  kFp8Blocks,    // a scale for each 128 rows and columns, inputs in floats
  kMxfp8,        // with inputs in mxfp8
  kNvfp4,        // with inputs in nvfp4
  kW4Nvfp4,      // inputs in floats
  kW4Awq,        // integers of 4 bits, symmetric, in groups
  kInt8          // integers of 8 bits, a scale for each row, inputs with a static one
};
const char* name_of(Algorithm algorithm);
// InvalidArgument: none that is known here; which are.
absl::StatusOr<Algorithm> algorithm_named(const std::string& name);

struct Quantization {
  Algorithm algorithm = Algorithm::kFp8;
  int64_t group = 0;  // columns; 0: the algorithm has none

  bool is_nvfp4() const {
    return algorithm == Algorithm::kNvfp4 || algorithm == Algorithm::kW4Nvfp4;
  }
  bool is_integer() const {
    return algorithm == Algorithm::kW4Awq || algorithm == Algorithm::kInt8;
  }
  // With scales in fp32?
  bool is_fp8() const {
    return algorithm == Algorithm::kFp8 || algorithm == Algorithm::kFp8PerToken ||
           algorithm == Algorithm::kFp8Blocks;
  }
};
inline bool operator==(const Quantization& a, const Quantization& b) {
  return a.algorithm == b.algorithm && a.group == b.group;
}

// What holds these schemes. InvalidArgument: why nothing does.
absl::StatusOr<Quantization> quantization_of(const Codec& weight, const Codec* activation);
// The same of a planned linear, by its sizes and the type of its scales, too.
absl::StatusOr<Quantization> quantization_of(const LinearSummary& linear);

absl::StatusOr<std::shared_ptr<const Codec>> weight_codec(const Quantization& quantization);
// Null: inputs stay in floats.
absl::StatusOr<std::shared_ptr<const Codec>> input_codec(const Quantization& quantization);

}  // namespace swage::modelopt
