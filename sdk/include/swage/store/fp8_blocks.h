#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/exporter.h"
#include "swage/store/stored_module.h"

// Checkpoints of quant_method "fp8": what its forms have in common, and the form in blocks that
// DeepSeek-V3 was published in.
namespace swage::store {

// Lists of modules that stay in floats, for all readers: one looks for `ignored_layers`, another
// for `modules_to_not_convert`.
SWAGE_API void put_float_modules(const ExportContext& context, Value::Table* config);
// Is the linear of a quantization_config of this method held in floats? A module of one of the
// lists is: its whole path, or some neighbouring parts of it. Without a list: what holds floats.
// InvalidArgument: floats that no list names.
SWAGE_API absl::StatusOr<bool> in_floats(const StoredModule& module, const Value& quantization);

// Codes beside `weight_scale_inv`, a multiplier for each block, inputs in fp8 by groups as wide as
// a block. InvalidArgument: why a linear cannot be that.
SWAGE_API absl::Status check_fp8_blocks(const LinearSummary& linear);
SWAGE_API absl::Status put_fp8_blocks(const Result& linear, TensorSink& sink);
// Of linears that check_fp8_blocks() took. InvalidArgument: blocks of two sizes.
SWAGE_API absl::Status check_one_block(const std::vector<LinearSummary>& planned);
SWAGE_API absl::StatusOr<Value> fp8_blocks_config(const ExportContext& context);
// `quantization` has weight_block_size. InvalidArgument: what it says that no linear here can be.
SWAGE_API absl::StatusOr<Result> read_fp8_blocks(const StoredModule& module,
                                                 const Value& quantization);

}  // namespace swage::store
