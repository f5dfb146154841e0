#pragma once
#include "absl/status/statusor.h"
#include "mode.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// The tensors of one linear: "weight" in words of 32 bits, "scales" and, of integers, "biases".
namespace swage::mlx {

absl::Status write_linear(const Result& linear, TensorSink& sink);
absl::StatusOr<Result> read_linear(const store::StoredModule& module, const Mode& mode,
                                   std::shared_ptr<const Codec> codec);

}  // namespace swage::mlx
