#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/weight_source.h"

namespace swage::store {

// The tensors of one module of a checkpoint, `name.part`: looked at before they are read, so that
// what a file says costs no memory until it fits. Errors are InvalidArgument: which tensor, what it
// is, what was expected. Name and source outlive the object.
class SWAGE_API StoredModule {
 public:
  using Shape = std::vector<int64_t>;
  using Types = std::vector<at::ScalarType>;
  static constexpr int64_t kGreatestSide = int64_t{1} << 40;  // sizes in bits then fit 64 bits

  StoredModule(const std::string& name, const WeightSource& tensors)
      : name_(name), tensors_(tensors) {}

  const std::string& name() const { return name_; }
  const WeightSource& tensors() const { return tensors_; }
  std::string full(const char* part) const { return name_ + "." + part; }
  bool has(const char* part) const { return tensors_.has(full(part)); }

  // Its shape, where it has `rank` sizes of at least 1.
  absl::StatusOr<Shape> shape(const char* part, size_t rank) const;
  // The tensor of that shape, in one of these dtypes. One number may lie there without a dimension
  // where {1} is expected.
  absl::StatusOr<at::Tensor> read(const char* part, const Types& types,
                                  const Shape& expected) const;
  absl::Status expect_absent(const char* part, const char* why) const;
  // "X.part is `found`, expected `expected`".
  absl::Status wrong(const char* part, const std::string& found, const std::string& expected) const;

  // For decode(): NotFound where "weight" holds floats of 16 bits or more; else an error that
  // begins with why nothing compressed was looked for (`because`).
  absl::Status plain(const std::string& because) const;
  bool holds_floats() const;  // is "weight" there, in such floats?

 private:
  const std::string& name_;
  const WeightSource& tensors_;
};

// fp32, fp16, bf16, fp64.
SWAGE_API const StoredModule::Types& float_types();

}  // namespace swage::store
