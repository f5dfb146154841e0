#pragma once
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

// Which tensor of a rank's file a tensor of the source lies in, and where.
namespace swage::trtllm {

// Sizes of a Llama-like model.
struct Model {
  int64_t layers = 0, heads = 0, kv_heads = 0, head_size = 0, hidden = 0, intermediate = 0,
          vocabulary = 0, ranks = 1;
  bool tied = false;
  // Of config.json of the source. InvalidArgument: another family, a size that is missing, heads or
  // words that do not divide by the ranks.
  static absl::StatusOr<Model> of(const Value& config, int64_t ranks);
};

// How a tensor lies on ranks.
enum class Split {
  kNone,     // all have it
  kRows,     // each has some of its outputs; matrices that are joined, some of each
  kColumns,  // each has some of its inputs
};

// One of the tensors that are joined along the outputs.
struct Place {
  std::string tensor;  // "transformer.layers.3.attention.qkv.weight"
  Split split = Split::kNone;
  int axis = -1;                // of the split, and of joining; -1: the tensor has no such axis
  std::vector<int64_t> shares;  // of the members, in outputs
  std::vector<std::string> members;  // tensors of the source, in that order
};

// For a tensor of the source: "model.layers.3.self_attn.k_proj.weight". NotFound: no place.
absl::StatusOr<Place> place_of(const std::string& tensor, const Model& model);
// Names of the source for one of a rank's file; empty: none.
std::vector<std::string> sources_of(const std::string& tensor);
// Is it a linear of the blocks, "model.layers.3.mlp.up_proj"?
bool is_linear(const std::string& module);

}  // namespace swage::trtllm
