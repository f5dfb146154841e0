#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage {

// Names, dtypes and shapes of stored tensors, and their bytes on demand. Errors name tensor and
// file.
class SWAGE_API WeightSource {
 public:
  virtual ~WeightSource();
  virtual std::vector<std::string> names() const = 0;  // sorted
  virtual bool has(std::string_view name) const = 0;
  virtual absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const = 0;
  virtual absl::StatusOr<at::ScalarType> dtype(std::string_view name) const = 0;
  // The tensor in its stored dtype, on the CPU, owning its memory. NotFound when absent.
  virtual absl::StatusOr<at::Tensor> read(std::string_view name) const = 0;
  // Rows [begin, end) of the first dimension.
  virtual absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                               int64_t end) const = 0;
};

}  // namespace swage
