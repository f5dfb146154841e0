#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "swage/export.h"
#include "swage/io/safetensors_header.h"
#include "swage/value.h"

// Experts of a mixture in one tensor of three dimensions, as transformers 5 holds them:
// `M.experts.gate_up_proj` [experts, 2 · width, hidden] (gate first) and `M.experts.down_proj`
// [experts, hidden, width]. They are read as `M.experts.<i>.gate_proj.weight` and so on, the form
// in which checkpoints are published. Needs no LibTorch.
namespace swage::io {

// What the published form calls them, where that is not `M.experts.<i>.gate_proj`: Mixtral's files
// have M = block_sparse_moe, w1, w3 and w2.
struct SWAGE_API ExpertNames {
  std::string block = "mlp", gate = "gate_proj", up = "up_proj", down = "down_proj";
};
SWAGE_API ExpertNames expert_names(const Value& config);

// Where the matrix of one expert lies: rows [begin, end) of its slice of the fused tensor.
struct SWAGE_API FusedExpert {
  std::string tensor;
  int64_t expert = 0, begin = 0, end = 0;
};
// Of "M.experts.3.gate_proj.weight" among the tensors of a stored header; none where it is not part
// of a fused tensor.
SWAGE_API std::optional<FusedExpert> fused_expert(const Header& stored, std::string_view name,
                                                  const ExpertNames& names = {});
// The tensor of that published name which is no part of a fused one, as it is stored.
SWAGE_API std::string beside_experts(const Header& stored, std::string_view name,
                                     const ExpertNames& names = {});

SWAGE_API bool has_fused_experts(const Header& stored);
// The header with a matrix for each expert in place of fused tensors.
SWAGE_API Header header_by_expert(const Header& stored, const ExpertNames& names = {});

}  // namespace swage::io
