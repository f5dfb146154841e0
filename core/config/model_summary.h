#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/catalog/manifest.h"
#include "swage/io/safetensors_header.h"

namespace swage {

// The tensors of a checkpoint, counted. Made of headers alone.
struct ModelSummary {
  struct Size {
    int64_t tensors = 0, elements = 0, bytes = 0;
  };
  // The matrix of a linear, or those of a stack of experts.
  struct Matrix {
    std::string name;  // of the linear
    int64_t rows = 0, in = 0;
    io::StoredType type = io::StoredType::kF32;
  };
  std::map<std::string, Size> types;  // by dtype ("BF16"), all tensors
  int64_t parameters = 0;             // elements of linears and kept tensors
  std::vector<Matrix> linears;        // what steps compress
  int64_t kept_bytes = 0;             // the rest of what an export holds, biases included
};
ModelSummary summarize(const io::Header& header, const ComponentManifest& adapter);

// "model.layers." when all these names begin with it, the index and a dot; "" when there is no such
// beginning.
std::string numbered_prefix(const std::vector<std::string>& names, int64_t index);
// Blocks 0 to count - 1, those together whose tensors (prefix, index, dot) have the same names,
// dtypes and shapes. In the order of their first block; with prefix "" all are taken to be alike.
std::vector<std::vector<int64_t>> alike_blocks(const io::Header& header, const std::string& prefix,
                                               int64_t count);
// "0 to 3, 5, 7 to 9" of ascending numbers.
std::string ranges_text(const std::vector<int64_t>& numbers);

}  // namespace swage
