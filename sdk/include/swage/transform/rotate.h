#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/status/statusor.h"
#include "swage/block.h"
#include "swage/model.h"

// Orthogonal changes of basis that leave a model's function as it is (Ashkboos et al. 2024, QuaRot;
// Liu et al. 2024, SpinQuant). Rows are vectors: x becomes x Q. Everything is computed in fp64 and
// left in the compute dtype; the engine rounds once.
namespace swage::transform {

// A Hadamard matrix divided by sqrt(n): orthogonal, fp64 [n, n], its first row and column positive
// and constant. Made of Sylvester's and Paley's constructions. NotFound where they give none for n.
SWAGE_API absl::StatusOr<at::Tensor> hadamard(int64_t n);

enum class Rotation {
  kHadamard,
  kRandom
};  // signs · Hadamard (random where n has none); QR of a Gaussian matrix
// A random rotation, fp64 [n, n]; `random` gives independent 64-bit values by counter. With
// `keeps_mean` it leaves the constant vector where it is, so that it commutes with LayerNorm.
SWAGE_API at::Tensor random_rotation(int64_t n, Rotation kind, bool keeps_mean,
                                     const std::function<uint64_t(uint64_t)>& random);

// FailedPrecondition says what stands against a rotation of the residual stream ("a norm stands
// behind the attention").
SWAGE_API absl::Status can_rotate(const ResidualSites& sites);
// Norm weights become 1, their readers absorb them; then readers and writers change to the basis Q
// [hidden, hidden]. FailedPrecondition: can_rotate, or a norm with a zero weight and a bias.
SWAGE_API absl::Status rotate_residual(Block& block, const at::Tensor& q);
SWAGE_API absl::Status rotate_residual(Embedding& embedding, const at::Tensor& q);
SWAGE_API absl::Status rotate_residual(Head& head, const at::Tensor& q);  // unties it

// Values of every head, and the columns that read them, change to the basis Q [head_dim, head_dim].
// FailedPrecondition: the subset is not the input of an attention's output projection.
SWAGE_API absl::Status rotate_values(Subset& subset, const at::Tensor& q);

}  // namespace swage::transform
