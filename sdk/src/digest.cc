// Digests: XXH3-128 over every field that is stored (see docs/decisions/xxhash.md).
#include <xxhash.h>

#include "swage/compressed_linear.h"

namespace swage {
namespace {

class Digest {
 public:
  Digest() : state_(XXH3_createState(), XXH3_freeState) { XXH3_128bits_reset(state_.get()); }

  template <class Number>
  Digest& number(Number value) {
    const auto wide = static_cast<int64_t>(value);
    return bytes(&wide, sizeof wide);
  }

  Digest& text(const std::string& value) {
    return number(value.size()).bytes(value.data(), value.size());
  }

  Digest& tensor(const at::Tensor& value) {
    if (!value.defined()) return number(-1);
    const at::Tensor host = value.detach().to(at::kCPU).contiguous();
    number(host.scalar_type()).number(host.dim());
    for (int64_t size : host.sizes()) number(size);
    return bytes(host.const_data_ptr(), host.nbytes());
  }

  std::string hexadecimal() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
  }

 private:
  Digest& bytes(const void* data, size_t size) {
    XXH3_128bits_update(state_.get(), data, size);
    return *this;
  }

  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

}  // namespace

std::string digest(const at::Tensor& tensor) { return Digest().tensor(tensor).hexadecimal(); }

std::string digest(const CompressedLinear& linear) {
  Digest digest;
  const WeightScheme& scheme = linear.scheme;
  digest.text(linear.name).number(linear.out).number(linear.in);
  digest.number(scheme.format)
      .number(scheme.bits)
      .number(scheme.symmetric)
      .number(scheme.granularity);
  digest.number(scheme.group_width(linear.in));
  for (const at::Tensor& tensor :
       {linear.codes, linear.scales, linear.zeros, linear.g_idx, linear.mask, linear.outlier_index,
        linear.outlier_value, linear.low_rank_left, linear.low_rank_right, linear.codebook}) {
    digest.tensor(tensor);
  }
  digest.text(linear.online_transform).number(linear.activation.has_value());
  if (linear.activation) {
    const ActivationScheme& input = linear.activation->scheme;
    digest.number(input.format)
        .number(input.bits)
        .number(input.granularity)
        .number(input.symmetric)
        .number(input.dynamic);
    digest.tensor(linear.activation->scale).tensor(linear.activation->zero);
  }
  return digest.hexadecimal();
}

}  // namespace swage
