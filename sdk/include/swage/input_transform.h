#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage {

// A change of basis that the input x of a linear passes at run time, before it is quantized: x R.
class SWAGE_API InputTransform {
 public:
  virtual ~InputTransform();
  // Of a text() and a width. InvalidArgument: no transform is written like that, or none of this
  // width.
  static absl::StatusOr<std::shared_ptr<const InputTransform>> parse(std::string_view text,
                                                                     int64_t width);

  // All that a result holds of it.
  virtual const std::string& text() const = 0;
  virtual int64_t width() const = 0;
  // x R of x [rows, width], in the dtype of x (fp32 or fp64). Differentiable. A row's bytes do not
  // depend on the others.
  virtual at::Tensor apply(const at::Tensor& x) const = 0;
  virtual at::Tensor undo(const at::Tensor& x) const = 0;  // x R⁻¹
};

}  // namespace swage
