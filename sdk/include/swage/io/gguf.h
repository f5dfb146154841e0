#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/checkpoint.h"
#include "swage/io/gguf_architecture.h"
#include "swage/io/gguf_header.h"

namespace swage::io {

// A GGUF v3 file, a split one or a folder of either as a checkpoint: tensors under their Hugging
// Face names, in the rows' original order; config.json and the tokenizer's files are made from the
// metadata. Files beside it in a folder of its own take the place of those.
SWAGE_API absl::StatusOr<std::unique_ptr<Checkpoint>> open_gguf(const std::string& path,
                                                                GgufView view = GgufView::kFloats);

// Rows [begin, end) of a source of a plan, as a matrix: of numbers, or of the bytes of blocks.
using GgufRead = std::function<absl::StatusOr<at::Tensor>(const std::string& source, int64_t begin,
                                                          int64_t end)>;
// The rows of a plan's tensor in order, a piece at a time; a tensor with transposed parts is one
// piece. `values` and `added` are done by whoever calls.
SWAGE_API absl::Status each_piece(const GgufPlan& plan, const GgufRead& read,
                                  const std::function<absl::Status(const at::Tensor&)>& visit);

// One tensor of a file that is written.
struct SWAGE_API GgufEntry {
  std::string name;
  std::vector<int64_t> shape;  // in values, the innermost dimension last
  uint32_t type = 0;
  // Calls back with its bytes, in order and in pieces.
  std::function<absl::Status(const std::function<absl::Status(const at::Tensor&)>& put)> write;

  int64_t bytes() const;
};
// Writes one file at once: `path`.tmp first, fsynced, renamed. InvalidArgument: names that are too
// long or stand there twice, rows that are no blocks, a key whose value is not of its type.
SWAGE_API absl::Status write_gguf(const std::string& path, const std::vector<GgufKey>& keys,
                                  const std::vector<GgufEntry>& entries);
// Files beside it: name, which may lie in folders below, and content. `written` gets their paths,
// of one that fails too.
SWAGE_API absl::Status write_side_files(const std::string& directory, const SideFiles& files,
                                        std::vector<std::string>* written);
// `directory`/`stem`.gguf, or parts of at most `part_bytes` as llama.cpp's gguf-split makes them.
SWAGE_API absl::Status write_split_gguf(const std::string& directory, const std::string& stem,
                                        std::vector<GgufKey> keys,
                                        const std::vector<GgufEntry>& entries, int64_t part_bytes);

}  // namespace swage::io
