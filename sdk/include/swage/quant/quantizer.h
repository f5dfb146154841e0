#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "swage/compressed_linear.h"
#include "swage/export.h"
#include "swage/linear.h"
#include "swage/scheme.h"

// Integer and fp8 quantizers. All arithmetic is fp32 (fp64 when the input is fp64); scales are
// rounded to their storage dtype before the codes are computed. Formulas: Frantar et al. 2022
// (GPTQ), Lin et al. 2023 (AWQ), Micikevicius et al. 2022 (fp8).
namespace swage::quant {

// Scales and zero points of a weight, storage dtype already rounded. Signed codes: q in [code_min,
// code_max].
struct SWAGE_API Grid {
  WeightScheme scheme;
  at::Tensor scales;  // storage dtype [out, groups] ([1, 1] for kTensor)
  at::Tensor zeros;   // int8 like scales, asymmetric only
};

// Ranges from the weight [out, in] (fp32 or fp64, any strides), optionally within clip limits [out,
// groups]. Empty groups cannot occur; constant and all-zero groups get a scale that decodes them
// exactly where the format can. InvalidArgument: not finite, or a group size that does not divide
// `in` (names the sizes that do).
SWAGE_API absl::StatusOr<Grid> find_grid(const at::Tensor& weight, const WeightScheme& scheme,
                                         at::ScalarType scale_dtype,
                                         const at::Tensor& clip_low = {},
                                         const at::Tensor& clip_high = {});

// Round to nearest (ties to even) on the grid. The fast path is vectorised and parallel over rows;
// encode_reference is the plain version that tests compare it with.
SWAGE_API at::Tensor encode(const at::Tensor& weight, const Grid& grid);
SWAGE_API at::Tensor encode_reference(const at::Tensor& weight, const Grid& grid);
// fp32 (q - z) * s, rounded once to the dtype of the scales, returned as fp32.
SWAGE_API at::Tensor decode(const at::Tensor& codes, const Grid& grid);
// decode(encode(w)) in one pass, for searches.
SWAGE_API at::Tensor round_trip(const at::Tensor& weight, const Grid& grid);

// Round to nearest of one linear under a scheme, honouring its clip limits: what `rtn` is made of.
SWAGE_API absl::StatusOr<CompressedLinear> quantize(const Linear& linear,
                                                    const WeightScheme& scheme,
                                                    at::ScalarType scale_dtype);
// Result object of codes found elsewhere (a column sweep).
SWAGE_API CompressedLinear make_result(const std::string& name, const Grid& grid, at::Tensor codes);

// What the input of a linear becomes when it is quantized: dynamic per token or per tensor (row by
// row or over the whole batch of one sequence), or static. Straight-through in backward.
SWAGE_API at::Tensor fake_quantize(const at::Tensor& x, const ActivationQuantizer& quantizer);
// Static scale (and zero) of a calibrated range; both fp32 [1].
SWAGE_API ActivationQuantizer static_quantizer(const ActivationScheme& scheme, float minimum,
                                               float maximum);

}  // namespace swage::quant
