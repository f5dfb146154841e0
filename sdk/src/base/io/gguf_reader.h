#pragma once
#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::io {

// Takes the values of a GGUF header one after the other and never more than the file holds.
class GgufReader {
 public:
  static absl::StatusOr<GgufReader> open(const std::string& path);

  template <class T>
  absl::StatusOr<T> number() {
    T value{};
    absl::Status status = bytes(&value, sizeof value);
    if (!status.ok()) return status;
    return value;
  }
  absl::StatusOr<std::string> text();
  // A value of the metadata; numbers become int64, bool or double, arrays lists.
  absl::StatusOr<Value> value(uint32_t type);

  int64_t position() const { return position_; }
  int64_t size() const { return size_; }
  absl::Status error(const std::string& what) const;  // names file and position

 private:
  absl::Status bytes(void* out, int64_t count);
  absl::StatusOr<Value> list();

  std::string path_;
  std::ifstream file_;
  int64_t size_ = 0, position_ = 0;
  int64_t items_ = 0;  // of all arrays
};

}  // namespace swage::io
