#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::io {

// A file that is read by position: never mapped, so that nothing of it stays in this process. Only
// files are opened: a pipe, a device or a folder is InvalidArgument, at once.
class SWAGE_API InputFile {
 public:
  static absl::StatusOr<InputFile> open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  // Exactly `size` bytes from `offset`; DataLoss when the file ends before. May be called by
  // several threads.
  absl::Status read(int64_t offset, int64_t size, void* out) const;
  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  InputFile(std::string path, int descriptor, int64_t size);
  std::string path_;
  int descriptor_;
  int64_t size_;
};

// Writes a new file beside `path`, through no link; commit() makes it `path`, once everything is on
// disk. Without commit() nothing is left.
class SWAGE_API OutputFile {
 public:
  static absl::StatusOr<OutputFile> create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status write(const void* data, int64_t size);
  absl::Status write(std::string_view text) {
    return write(text.data(), static_cast<int64_t>(text.size()));
  }
  absl::Status commit();

 private:
  OutputFile(std::string path, std::string temporary, int descriptor);
  absl::Status failed() const;
  std::string path_, temporary_;
  int descriptor_;
};

}  // namespace swage::io
