#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/block.h"
#include "swage/export.h"
#include "swage/input_transform.h"

// Changes of basis at run time (Ashkboos et al. 2024, QuaRot, R4): where nothing in front of a
// linear can absorb a rotation, its input x becomes x R before it is quantized, and its weight W
// becomes W R, so that x R (W R)ᵀ = x Wᵀ.
namespace swage::transform {

// An orthogonal matrix R [width, width] that costs little: a Hadamard matrix (Sylvester's times a
// small one of Paley's), repeated along the diagonal; a random rotation for odd widths, which have
// none.
class SWAGE_API OnlineTransform final : public InputTransform {
 public:
  // The widest Hadamard matrix that divides `width` (Paley's part up to 1024 wide); for an odd
  // width the rotation of `seed`.
  static OnlineTransform widest(int64_t width, uint64_t seed);
  // What text() gives. InvalidArgument: another word, or a block that does not divide `width` or
  // has no Hadamard matrix.
  static absl::StatusOr<OnlineTransform> parse(std::string_view text, int64_t width);

  // "hadamard <block width>" or "random <seed>".
  const std::string& text() const override { return text_; }
  int64_t width() const override { return width_; }
  // log2(block) additions an entry and a product with Paley's part.
  at::Tensor apply(const at::Tensor& x) const override;
  at::Tensor undo(const at::Tensor& x) const override;
  at::Tensor matrix() const;  // R in fp64, built without the fast way

 private:
  OnlineTransform(std::string text, int64_t width, int64_t runs, at::Tensor core);
  at::Tensor multiply(const at::Tensor& x, const at::Tensor& core) const;

  std::string text_;
  int64_t width_, runs_;  // runs_: a power of two, width of Sylvester's part
  at::Tensor core_;       // fp64, already divided by the root of the block width
};

// Every linear of the subset reads its input through the transform from here on, and the subset has
// no fold target any more. Statistics of the input are those of x R. FailedPrecondition: a linear
// is quantized, has range limits or a transform already, or others read the same tensor.
SWAGE_API absl::Status transform_input(Subset& subset,
                                       std::shared_ptr<const InputTransform> transform);
// The float weight without its transform again, up to rounding: for a linear that stays in floats.
SWAGE_API void take_back_transform(Linear& linear);

}  // namespace swage::transform
