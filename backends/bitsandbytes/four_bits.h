#pragma once
#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// NF4 and FP4: two codes a byte, the first in the high half, a scale for 64 entries of the
// flattened matrix, which may itself be a byte of an 8-bit map, and a text that says all this.
namespace swage::bitsandbytes {

inline constexpr char kAbsmax[] = "weight.absmax";

// "nf4" or "fp4", as bitsandbytes calls the codec's format; null: another one.
const char* quant_type(const Codec& codec);
// A codec of this kind: are its scales bytes, and what is code times scale rounded to?
bool is_nested(const Codec& codec);
at::ScalarType decoded_type(const Codec& codec);

absl::Status write_four_bits(const Result& linear, TensorSink& sink);
// Blocks of another size and tables that are not bitsandbytes' own come as floats.
absl::StatusOr<Result> read_four_bits(const store::StoredModule& module);

}  // namespace swage::bitsandbytes
