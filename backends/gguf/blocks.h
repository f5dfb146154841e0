#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/result.h"
#include "swage/store/stored_module.h"

// Results as blocks of GGUF, and back.
namespace swage::gguf {

// The type of blocks that hold results of this codec exactly, "q4_0". InvalidArgument: why none
// does, and what would.
absl::StatusOr<std::string> block_type(const LinearSummary& linear);
// Its number in files.
uint32_t type_number(const std::string& type);

// What a file holds of one linear.
struct Blocks {
  std::string type;
  at::Tensor bytes;   // uint8 [rows, bytes of a row]
  float divisor = 0;  // NVFP4: of the matrix, as the result has it
  std::string as;     // the dtype in which the result's values count, where blocks do not say it
};
absl::StatusOr<Blocks> to_blocks(const Result& linear);
// The result that such blocks stand for: integers give integers of the same values.
absl::StatusOr<Result> from_blocks(const std::string& name, const Blocks& blocks);

// NVFP4 of another writer, whose factor multiplies.
absl::StatusOr<Result> from_nvfp4(const std::string& name, const at::Tensor& bytes, float factor);

}  // namespace swage::gguf
