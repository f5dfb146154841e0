#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "quantization_config.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// The tensors of one linear.
namespace swage::compressed_tensors {

// Puts what the layout stores; `linear` is valid and the layout holds its schemes.
absl::Status write_linear(const Result& linear, Layout layout, TensorSink& sink);

// Reads them back. InvalidArgument names the tensor, what it is and what was expected.
absl::StatusOr<Result> read_linear(const StoredAs& stored, const store::StoredModule& module);

}  // namespace swage::compressed_tensors
