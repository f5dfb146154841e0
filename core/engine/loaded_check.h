#pragma once
#include "absl/status/status.h"
#include "swage/model.h"

namespace swage {

// What an adapter gives, before anything relies on it. Every error is a fault of the plugin, but
// for sizes that config.json itself gives wrongly.

// Towers, counts and sizes; `tensors`: how many the checkpoint has, a block needs one at least.
absl::Status check_shape(const ModelShape& shape, int64_t tensors, const Value& config);
// Linears, parameters, subsets and what they point at.
absl::Status check_block(Block* block, const BlockId& id, const LoadOptions& options);
// What a part holds under the name of a tensor are values of that tensor, some rows of each:
// exports give them out under this name.
absl::Status check_values(const std::deque<Linear>& linears,
                          const std::deque<Parameter>& parameters, const WeightSource& source);
absl::Status check_embedding(Embedding* embedding);
absl::Status check_head(Head* head);
// The linear that one of them makes of its matrix.
absl::Status check_end(const Linear& linear);

// Parameters of an end, as loaded and as a step left them: the same ones, of the same shapes, and
// finite; there may be more.
absl::Status check_changed_parameters(const std::deque<Parameter>& loaded,
                                      const std::deque<Parameter>& changed);

// What a stage left in its slots: the input of its subset, or the block's output. `width` of the
// stream behind the block, 0 where any will do.
absl::Status check_stage(Block& block, int64_t stage, const Slots& slots, int64_t width = 0);
// Rows that a head or an embedding made: [rows, width], floats; 0: any width.
absl::Status check_rows(const char* what, const at::Tensor& tensor, int64_t rows, int64_t width);

}  // namespace swage
