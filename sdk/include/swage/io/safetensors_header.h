#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

// Headers of safetensors files and the files of a checkpoint folder. Needs no LibTorch: `swage
// check` uses it too.
namespace swage::io {

enum class StoredType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kU32,
  kI16,
  kI8,
  kU8,
  kBool
};
SWAGE_API int64_t byte_size(StoredType type);
SWAGE_API const char* name(StoredType type);  // "BF16"

struct SWAGE_API TensorInfo {
  StoredType type = StoredType::kF32;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // byte range within the file
};
using Header = std::map<std::string, TensorInfo, std::less<>>;

// The header of one file, checked: length at most 100 MB and within the file, known dtypes, shapes
// whose product neither overflows nor differs from the byte range, ranges that cover the data
// without holes or overlap, unique names.
SWAGE_API absl::StatusOr<Header> read_header(const std::string& path);

// The safetensors files of a checkpoint folder (model.safetensors, or what the index names). The
// index must not lead out of the folder, every named file must exist. *.bin alone: an error with
// advice.
SWAGE_API absl::StatusOr<std::vector<std::string>> checkpoint_files(const std::string& folder);

// The same files with their headers, in which lie the tensors that the index says.
struct SWAGE_API CheckpointFile {
  std::string path;
  Header header;
};
SWAGE_API absl::StatusOr<std::vector<CheckpointFile>> read_checkpoint_files(
    const std::string& folder);

// Tensor name -> dtype and shape of a whole checkpoint (folder, or a GGUF file).
SWAGE_API absl::StatusOr<Header> read_checkpoint_header(const std::string& path);

// Whole small files. Writing goes to path.tmp, fsync, rename, fsync of the folder: old content or
// new, nothing between.
SWAGE_API absl::StatusOr<std::string> read_file(const std::string& path,
                                                int64_t limit_bytes = int64_t{1} << 31);
SWAGE_API absl::Status write_file_atomically(const std::string& path, std::string_view content);

}  // namespace swage::io
