#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/scheme.h"

namespace swage {

// Quantization of a linear's input. `scale`/`zero` are set for static schemes only: fp32 [1] / int8
// range as fp32 [1].
struct SWAGE_API ActivationQuantizer {
  ActivationScheme scheme;
  at::Tensor scale;
  at::Tensor zero;
};

// The one result object: what evaluation decodes, exporters pack and verification compares.
// Nobody re-quantizes floats. Undefined tensors mean "this part is not used".
struct SWAGE_API CompressedLinear {
  std::string name;  // module path, "model.layers.0.self_attn.q_proj"
  int64_t out = 0, in = 0;
  WeightScheme scheme;  // format kDense: `codes` holds the float weight itself, in storage dtype

  // kInt: int8 [out, in], signed codes q in [-2^(b-1), 2^(b-1)-1], original column order.
  // fp8: at::kFloat8_e4m3fn / e5m2 [out, in].
  at::Tensor codes;
  // Storage dtype (already rounded), [out, groups] (groups = 1 for channel), [1, 1] for tensor.
  at::Tensor scales;
  // Asymmetric kInt only: int8, the shape of `scales`, same signed range as the codes.
  at::Tensor zeros;

  at::Tensor g_idx;              // int32 [in]: group of each column where groups are not contiguous
  at::Tensor mask;               // bool [out, in]: kept entries of a sparse weight
  at::Tensor outlier_index;      // int64 [n, 2] rows and columns kept in floats
  at::Tensor outlier_value;      // storage dtype [n], replaces the decoded entry
  at::Tensor low_rank_left;      // storage dtype [out, r]; the decoded weight gains left * right
  at::Tensor low_rank_right;     // storage dtype [r, in]
  at::Tensor codebook;           // storage dtype [entries, width]; codes then index it
  std::string online_transform;  // transform::OnlineTransform::text() of what the input must pass
                                 // ("" = none)

  std::optional<ActivationQuantizer> activation;
  std::string provenance;  // "gptq (swage.gptq 1.0.0)"
};

// The decoded weight: fp32 (q - z) * s rounded once to the dtype of the scales, returned as fp32
// [out, in]. Solvers, evaluation, verification and readers all mean this value.
SWAGE_API at::Tensor decode(const CompressedLinear& linear);

// Logical bits of codes, scales, zeros, indices, outliers and side paths, without padding
// (w4 g64 asymmetric with 16-bit scales: 4.3125 per weight).
SWAGE_API int64_t storage_bits(const CompressedLinear& linear);

// Shapes, dtypes, code ranges and finiteness; the error names the linear and the field.
SWAGE_API absl::Status validate(const CompressedLinear& linear);

// 128-bit digest of every stored field (hexadecimal): equal digests mean equal bits.
SWAGE_API std::string digest(const CompressedLinear& linear);
SWAGE_API std::string digest(const at::Tensor& tensor);

}  // namespace swage
