#pragma once
#include <memory>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"
#include "swage/value.h"

// How one linear is stored. All linears of a checkpoint are alike.
namespace swage::trtllm {

struct Quantization {
  enum class Kind {
    kFp8,   // one scale for the tensor, inputs with a static one
    kInt4,  // symmetric, groups of columns, inputs in floats
    kInt8   // symmetric, a scale for each row, inputs in int8 with one for each token
  };
  Kind kind = Kind::kFp8;
  int64_t group = 0;
};

// InvalidArgument: why the scheme is none of these.
absl::StatusOr<Quantization> quantization_of(const Codec& weight, const Codec* activation);
absl::StatusOr<Quantization> quantization_of(const LinearSummary& linear);

// "quantization" of config.json, all keys of which its reader must know, and back.
Value to_value(const Quantization& quantization);
absl::StatusOr<Quantization> from_value(const Value& table);

// Tensors under the linear's own name, parts as TensorRT-LLM names them, for the whole matrix.
absl::Status write_linear(const Result& linear, const Quantization& quantization, TensorSink& sink);
absl::StatusOr<Result> read_linear(const store::StoredModule& module,
                                   const Quantization& quantization);

}  // namespace swage::trtllm
