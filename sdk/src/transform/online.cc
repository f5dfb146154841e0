#include "swage/transform/online.h"

#include <ATen/ops/kron.h>
#include <torch/csrc/autograd/custom_function.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "swage/status.h"
#include "swage/transform/rotate.h"
#include "transform/hadamard.h"

namespace swage {

InputTransform::~InputTransform() = default;

absl::StatusOr<std::shared_ptr<const InputTransform>> InputTransform::parse(std::string_view text,
                                                                            int64_t width) {
  SWAGE_ASSIGN_OR_RETURN(transform::OnlineTransform transform,
                         transform::OnlineTransform::parse(text, width));
  return std::make_shared<const transform::OnlineTransform>(std::move(transform));
}

}  // namespace swage

namespace swage::transform {
namespace {

constexpr int64_t kWidestCore = 1024;

// x [count, runs, width] becomes S x for Sylvester's matrix S [runs, runs], which is symmetric.
template <class T>
void butterfly(T* x, int64_t count, int64_t runs, int64_t width) {
  const int64_t tile = std::max<int64_t>(1, 65536 / (runs * width));
  at::parallel_for(0, count, tile, [&](int64_t begin, int64_t end) {
    for (T* one = x + begin * runs * width; one < x + end * runs * width; one += runs * width) {
      for (int64_t half = width; half < runs * width; half *= 2) {
        for (T* pair = one; pair < one + runs * width; pair += 2 * half) {
          for (int64_t i = 0; i < half; ++i) {
            const T a = pair[i], b = pair[half + i];
            pair[i] = a + b;
            pair[half + i] = a - b;
          }
        }
      }
    }
  });
}

at::Tensor butterflied(const at::Tensor& x) {
  at::Tensor y = x.clone(at::MemoryFormat::Contiguous);
  if (y.scalar_type() == at::kDouble) {
    butterfly(y.mutable_data_ptr<double>(), y.size(0), y.size(1), y.size(2));
  } else {
    butterfly(y.mutable_data_ptr<float>(), y.size(0), y.size(1), y.size(2));
  }
  return y;
}

struct Butterfly : torch::autograd::Function<Butterfly> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) {
    return butterflied(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    return {butterflied(gradients[0])};
  }
};

// SplitMix64 (Steele et al. 2014).
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

at::Tensor seeded_rotation(int64_t width, uint64_t seed) {
  const uint64_t start = mixed(seed);
  return random_rotation(width, Rotation::kRandom, false,
                         [&](uint64_t counter) { return mixed(start ^ mixed(counter)); });
}

absl::Status check_free(const Subset& subset, const Linear& linear) {
  const char* why = nullptr;
  if (linear.result()) why = " has been quantized already";
  if (linear.clip_low.defined()) why = " has range limits";
  if (linear.mask.defined()) why = " has a mask";
  if (linear.online_transform) why = " has a transform of its input already";
  if (why == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(subset.name, ": ", linear.name, why, "; steps that rotate come first"));
}

}  // namespace

OnlineTransform::OnlineTransform(std::string text, int64_t width, int64_t runs, at::Tensor core)
    : text_(std::move(text)), width_(width), runs_(runs), core_(std::move(core)) {}

OnlineTransform OnlineTransform::widest(int64_t width, uint64_t seed) {
  SWAGE_CHECK(width > 0);
  for (int64_t block = width; block > 1; --block) {
    if (width % block != 0) continue;
    const auto parts = hadamard_parts(block, kWidestCore);
    if (parts) return *parse(absl::StrCat("hadamard ", block), width);
  }
  return *parse(absl::StrCat("random ", seed), width);
}

absl::StatusOr<OnlineTransform> OnlineTransform::parse(std::string_view text, int64_t width) {
  const absl::string_view words(text.data(), text.size());
  int64_t block = 0;
  uint64_t seed = 0;
  if (absl::StartsWith(words, "random ") && absl::SimpleAtoi(words.substr(7), &seed))
    return OnlineTransform(std::string(text), width, 1, seeded_rotation(width, seed));
  if (absl::StartsWith(words, "hadamard ") && absl::SimpleAtoi(words.substr(9), &block) &&
      block > 0 && width % block == 0) {
    if (auto parts = hadamard_parts(block, kWidestCore)) {
      return OnlineTransform(std::string(text), width, parts->runs,
                             parts->core / std::sqrt(static_cast<double>(block)));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", words, "\" is no transform of ", width,
                   " channels; expected \"hadamard <n>\", n a divisor that has a Hadamard matrix, "
                   "or \"random <seed>\""));
}

at::Tensor OnlineTransform::multiply(const at::Tensor& x, const at::Tensor& core) const {
  SWAGE_CHECK(x.dim() == 2 && x.size(1) == width_);
  if (x.size(0) == 0) return x;
  const int64_t narrow = core.size(0);
  at::Tensor y = narrow == 1 ? x * core.item<double>()
                             : affine(x.reshape({-1, narrow}), core.t().to(x.scalar_type()), {});
  if (runs_ > 1) {
    y = y.view({-1, runs_, narrow});
    y = y.requires_grad() ? Butterfly::apply(y) : butterflied(y);
  }
  return y.view(x.sizes());
}

// Sylvester's part is symmetric and commutes with the product along the other dimension.
at::Tensor OnlineTransform::apply(const at::Tensor& x) const { return multiply(x, core_); }
at::Tensor OnlineTransform::undo(const at::Tensor& x) const { return multiply(x, core_.t()); }

at::Tensor OnlineTransform::matrix() const {
  at::Tensor block = core_;
  const at::Tensor two = at::ones({2, 2}, at::kDouble);
  two[1][1] = -1;
  for (int64_t runs = 1; runs < runs_; runs *= 2) block = at::kron(two, block);
  return at::kron(at::eye(width_ / block.size(0), at::kDouble), block);
}

absl::Status transform_input(Subset& subset, std::shared_ptr<const InputTransform> transform) {
  if (!subset.readers.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(subset.name, ": ", subset.readers.front()->name,
                     " reads the same tensor and stays as it is, so it cannot be transformed"));
  }
  for (const Linear* linear : subset.linears) SWAGE_RETURN_IF_ERROR(check_free(subset, *linear));
  for (Linear* linear : subset.linears) {
    linear->weight =
        transform->apply(linear->weight.to(at::kDouble)).to(linear->weight.scalar_type());
    linear->online_transform = transform;
  }
  subset.fold = {};
  subset.fold.why_none = "its input is transformed at run time";
  return absl::OkStatus();
}

void take_back_transform(Linear& linear) {
  if (!linear.online_transform) return;
  linear.weight =
      linear.online_transform->undo(linear.weight.to(at::kDouble)).to(linear.weight.scalar_type());
  linear.online_transform.reset();
}

}  // namespace swage::transform
