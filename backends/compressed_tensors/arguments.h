#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/value.h"

namespace swage::compressed_tensors {

// QuantizationArgs of compressed-tensors: what "weights" and "input_activations" of a config group
// say of numbers.
struct Arguments {
  int64_t bits = 8;
  std::string type = "int";  // "int" or "float"
  std::string strategy;      // "tensor", "channel", "group", "block", "token", "tensor_group"
  bool symmetric = true;
  int64_t group_size = 0;  // 0: none is stated
  int64_t block_rows = 0, block_columns = 0;
  std::string dynamic = "false";  // "true", "local": scales within a tensor, under a static one
  std::string scale_dtype;        // "torch.uint8": powers of two; "torch.float8_e4m3fn"

  bool is_mx() const { return scale_dtype == "torch.uint8"; }
  // What weights and inputs of one matrix product have in common.
  std::string strategy_family() const;
};

// InvalidArgument: why compressed-tensors has no words for the scheme.
absl::StatusOr<Arguments> to_arguments(const Codec& codec);     // of weights
absl::StatusOr<Arguments> input_arguments(const Codec& codec);  // of an activation scheme
// Of what stands in a config, for weights or for inputs. InvalidArgument: what no format here is.
absl::StatusOr<Scheme> to_scheme(const Arguments& arguments, bool inputs);
// The table of a config group: all keys that every release has, and scale_dtype where it counts.
Value::Table to_table(const Arguments& arguments);

}  // namespace swage::compressed_tensors
