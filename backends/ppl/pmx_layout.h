#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/value.h"
#include "swage/weight_source.h"

// How pmx holds matrices.
namespace swage::ppl {

// Codes of 4 bits: four neighbouring rows in an int16, the first in the lowest nibble, q as q + 8.
// int8 [out, in] with `out` a multiple of 4, to int16 [out / 4, in].
at::Tensor pack_rows(const at::Tensor& codes);
at::Tensor unpack_rows(const at::Tensor& words);

// Rows of heads whose halves rotate together (Hugging Face) to rows whose neighbours do, and back.
at::Tensor interleaved(const at::Tensor& rows, int64_t head_dim);
at::Tensor split_in_halves(const at::Tensor& rows, int64_t head_dim);

// Is it a query or key projection, whose rows are interleaved?
bool rotates(const std::string& linear);
// Of a model's config.json. InvalidArgument: it states none that is even.
absl::StatusOr<int64_t> head_dim_of(const Value& model_config);

// The tensors of `source`, those of compressed query and key projections with interleaved rows.
std::unique_ptr<WeightSource> interleaved_source(const WeightSource& source, int64_t head_dim);

}  // namespace swage::ppl
