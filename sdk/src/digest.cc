// Digests: XXH3-128 over every field that is stored (see docs/decisions/xxhash.md).
#include "swage/result.h"
#include "xxh3.h"

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

  Digest& parts(const Parts& parts) {
    number(parts.size());
    for (const auto& [name, value] : parts) text(name).tensor(value);
    return *this;
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

std::string digest(const Result& result) {
  Digest digest;
  digest.text(result.name()).number(result.out()).number(result.in());
  digest.text(result.codec()->form()).parts(result.parts()).tensor(result.mask());
  digest.number(result.sides().size());
  for (const Side& side : result.sides()) {
    digest.number(static_cast<int>(side.kind))
        .number(static_cast<int>(side.input))
        .parts(side.parts);
    for (const auto& factor : {side.left, side.right})
      digest.text(factor ? swage::digest(*factor) : "");
  }
  digest.text(result.online_transform()).number(result.activation().has_value());
  if (result.activation())
    digest.text(result.activation()->codec->form()).parts(result.activation()->levels);
  return digest.hexadecimal();
}

}  // namespace swage
