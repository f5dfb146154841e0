#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/checkpoint.h"

namespace swage {

// What an exporter answers query(kFolderReader) with, where its folder is no Hugging Face
// checkpoint or spells tensors otherwise than the source: verification opens the folder with it.
inline constexpr std::string_view kFolderReader = "folder-reader/1";

class SWAGE_API FolderReader {
 public:
  virtual ~FolderReader();
  // A finished folder as a checkpoint of the source's shape, out of the files alone: parameters and
  // carried tensors under the names that they have there, linears as the tensors that decode()
  // reads, config() with the keys of the source's config.json. Nothing may lie in the files that no
  // name shows. The reader outlives the checkpoint.
  virtual absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_folder(
      const std::string& path) const = 0;
};

}  // namespace swage
