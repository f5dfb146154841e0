#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "layout.h"
#include "swage/weight_source.h"

// Tensors of a model, and what of them each rank's file holds.
namespace swage::trtllm {

// The tensors of one rank, cut out of the whole ones when they are asked for. A tied embedding is
// the head, too. NotFound: a tensor that has no place; InvalidArgument: one that cannot be cut.
absl::StatusOr<std::unique_ptr<WeightSource>> rank_of(const WeightSource& whole, const Model& model,
                                                      int64_t rank);

// The whole tensors under the names of the source, out of the files of all ranks. InvalidArgument:
// ranks that hold other tensors than the first, a tensor without a name in the source, a head that
// is no copy of a tied embedding.
absl::StatusOr<std::unique_ptr<WeightSource>> joined(
    std::vector<std::unique_ptr<WeightSource>> ranks, const Model& model);

}  // namespace swage::trtllm
