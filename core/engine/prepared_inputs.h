#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/opened_model.h"
#include "swage/evaluator.h"

namespace swage {

// Inputs as transformers' processors give them, in a safetensors file: "input_ids", integers
// [batch, tokens], and, of one sequence with images, what the model reads beside it ("pixel_values"
// …).
struct PreparedInputs {
  at::Tensor ids;  // int64 [batch, tokens]
  SequenceInputs others;
  std::vector<std::vector<int64_t>> rows;  // of ids, without the padding that a mask hides

  bool padded() const;
  TokenSet sequences() const;
};

// InvalidArgument: ids of another shape, an attention_mask or position_ids that are more than
// padding (data_file.h), inputs that a model of language alone does not know, or beside several
// sequences.
absl::StatusOr<PreparedInputs> read_prepared_inputs(const std::string& file,
                                                    const OpenedModel& model);

}  // namespace swage
