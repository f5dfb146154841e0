// Floats as a result: what a linear becomes that is changed but not quantized. No scheme names it;
// a linear that is to stay in floats is kept by an override.
#include "absl/strings/str_cat.h"
#include "swage/part_check.h"
#include "swage/register.h"

namespace swage::format {
namespace {

constexpr char kWeight[] = "weight";

class Dense final : public Codec {
 public:
  explicit Dense(const Params&) {}

 private:
  std::string do_describe() const override { return "floats"; }
  std::string do_form() const override { return "dense"; }
  absl::StatusOr<Parts> do_fit(const at::Tensor&, const FitRequest& request) const override {
    return Parts{{kWeight, at::empty({0}, request.scale_dtype)}};
  }
  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    return {{kWeight, weight.to(part(levels, kWeight).scalar_type())}};
  }
  at::Tensor do_decode(const Parts& parts, int64_t, int64_t) const override {
    return part(parts, kWeight).to(at::kFloat);
  }
  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    const PartCheck check(parts);
    SWAGE_RETURN_IF_ERROR(check.shape(kWeight, {out, in}));
    SWAGE_RETURN_IF_ERROR(check.only({kWeight}));
    return check.finite(kWeight);
  }
  double do_code_bits() const override { return 0; }
  int64_t do_level_bits(const Parts& parts) const override {
    const at::Tensor& weight = part(parts, kWeight);
    return weight.numel() * static_cast<int64_t>(weight.element_size()) * 8;
  }
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType type) const override {
    return out * in * static_cast<int64_t>(c10::elementSize(type)) * 8;
  }
  at::ScalarType do_decoded_type(const Parts& parts) const override {
    return part(parts, kWeight).scalar_type();
  }
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Dense, "dense");
