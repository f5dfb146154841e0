// Checks of the result object: shapes, dtypes, code ranges and finiteness.
#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>

#include "swage/compressed_linear.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
namespace {

std::string text(c10::IntArrayRef sizes) {
  std::string result = "[";
  for (size_t i = 0; i < sizes.size(); ++i) absl::StrAppend(&result, i ? ", " : "", sizes[i]);
  return result + "]";
}

class Checker {
 public:
  explicit Checker(const CompressedLinear& linear) : linear_(linear) {}

  absl::Status wrong(std::string_view field, const std::string& found,
                     const std::string& expected) const {
    return absl::InvalidArgumentError(absl::StrCat(linear_.name, ": ",
                                                   absl::string_view(field.data(), field.size()),
                                                   " is ", found, ", expected ", expected));
  }

  absl::Status shape(std::string_view field, const at::Tensor& tensor,
                     c10::IntArrayRef sizes) const {
    if (!tensor.defined()) return wrong(field, "missing", text(sizes));
    if (tensor.sizes() != sizes) return wrong(field, text(tensor.sizes()), text(sizes));
    return absl::OkStatus();
  }

  absl::Status type(std::string_view field, const at::Tensor& tensor,
                    at::ScalarType expected) const {
    if (tensor.scalar_type() == expected) return absl::OkStatus();
    return wrong(field, c10::toString(tensor.scalar_type()), c10::toString(expected));
  }

  absl::Status finite(std::string_view field, const at::Tensor& tensor) const {
    if (!tensor.is_floating_point())
      return wrong(field, c10::toString(tensor.scalar_type()), "a floating-point dtype");
    const at::Tensor value = tensor.element_size() == 1 ? tensor.to(at::kFloat) : tensor;
    if (at::isfinite(value).all().item<bool>()) return absl::OkStatus();
    return wrong(field, "not finite everywhere", "finite numbers");
  }

  absl::Status within(std::string_view field, const at::Tensor& tensor, int64_t low,
                      int64_t high) const {
    if (tensor.numel() == 0) return absl::OkStatus();
    const auto [least, greatest] = at::aminmax(tensor);
    const auto first = least.item().toLong(), last = greatest.item().toLong();
    if (first >= low && last <= high) return absl::OkStatus();
    return wrong(field, absl::StrCat("in ", first, " .. ", last), absl::StrCat(low, " .. ", high));
  }

  absl::Status integer_codes() const {
    const int64_t low = -(int64_t{1} << (linear_.scheme.bits - 1)), high = -low - 1;
    SWAGE_RETURN_IF_ERROR(type("codes", linear_.codes, at::kChar));
    if (linear_.scheme.bits < 8) SWAGE_RETURN_IF_ERROR(within("codes", linear_.codes, low, high));
    if (linear_.scheme.symmetric != !linear_.zeros.defined()) {
      return wrong("zeros", linear_.zeros.defined() ? "present" : "missing",
                   linear_.scheme.symmetric ? "none in a symmetric scheme"
                                            : "zero points in an asymmetric scheme");
    }
    if (linear_.scheme.symmetric) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(type("zeros", linear_.zeros, at::kChar));
    SWAGE_RETURN_IF_ERROR(shape("zeros", linear_.zeros, linear_.scales.sizes()));
    return within("zeros", linear_.zeros, low, high);
  }

  absl::Status codes() const {
    if (linear_.codebook.defined()) {
      SWAGE_RETURN_IF_ERROR(finite("codebook", linear_.codebook));
      if (linear_.codes.numel() * linear_.codebook.size(1) != linear_.out * linear_.in) {
        return wrong("codes", text(linear_.codes.sizes()), "one index per codebook entry's width");
      }
      return within("codes", linear_.codes, 0, linear_.codebook.size(0) - 1);
    }
    SWAGE_RETURN_IF_ERROR(shape("codes", linear_.codes, {linear_.out, linear_.in}));
    if (linear_.scheme.format == NumberFormat::kDense) return finite("codes", linear_.codes);
    const bool tensor = linear_.scheme.granularity == Granularity::kTensor;
    SWAGE_RETURN_IF_ERROR(
        shape("scales", linear_.scales,
              {tensor ? 1 : linear_.out, linear_.scheme.group_count(linear_.in)}));
    SWAGE_RETURN_IF_ERROR(finite("scales", linear_.scales));
    if (linear_.scheme.format == NumberFormat::kInt) return integer_codes();
    const bool e4m3 = linear_.scheme.format == NumberFormat::kFp8E4M3;
    SWAGE_RETURN_IF_ERROR(
        type("codes", linear_.codes, e4m3 ? at::kFloat8_e4m3fn : at::kFloat8_e5m2));
    return finite("codes", linear_.codes);
  }

  absl::Status side_paths() const {
    if (linear_.g_idx.defined()) {
      SWAGE_RETURN_IF_ERROR(shape("g_idx", linear_.g_idx, {linear_.in}));
      SWAGE_RETURN_IF_ERROR(within("g_idx", linear_.g_idx, 0, linear_.scales.size(1) - 1));
    }
    if (linear_.mask.defined()) {
      SWAGE_RETURN_IF_ERROR(type("mask", linear_.mask, at::kBool));
      SWAGE_RETURN_IF_ERROR(shape("mask", linear_.mask, {linear_.out, linear_.in}));
    }
    if (linear_.outlier_index.defined()) {
      const int64_t count = linear_.outlier_index.size(0);
      SWAGE_RETURN_IF_ERROR(type("outlier_index", linear_.outlier_index, at::kLong));
      SWAGE_RETURN_IF_ERROR(shape("outlier_index", linear_.outlier_index, {count, 2}));
      SWAGE_RETURN_IF_ERROR(
          within("outlier_index rows", linear_.outlier_index.select(1, 0), 0, linear_.out - 1));
      SWAGE_RETURN_IF_ERROR(
          within("outlier_index columns", linear_.outlier_index.select(1, 1), 0, linear_.in - 1));
      SWAGE_RETURN_IF_ERROR(shape("outlier_value", linear_.outlier_value, {count}));
      SWAGE_RETURN_IF_ERROR(finite("outlier_value", linear_.outlier_value));
    }
    if (linear_.low_rank_left.defined() || linear_.low_rank_right.defined()) {
      const int64_t rank = linear_.low_rank_left.defined() ? linear_.low_rank_left.size(-1) : 0;
      SWAGE_RETURN_IF_ERROR(shape("low_rank_left", linear_.low_rank_left, {linear_.out, rank}));
      SWAGE_RETURN_IF_ERROR(shape("low_rank_right", linear_.low_rank_right, {rank, linear_.in}));
      SWAGE_RETURN_IF_ERROR(finite("low_rank_left", linear_.low_rank_left));
      SWAGE_RETURN_IF_ERROR(finite("low_rank_right", linear_.low_rank_right));
    }
    return absl::OkStatus();
  }

  absl::Status online_transform() const {
    if (linear_.online_transform.empty()) return absl::OkStatus();
    return annotate(
        transform::OnlineTransform::parse(linear_.online_transform, linear_.in).status(),
        linear_.name);
  }

  absl::Status activation() const {
    if (!linear_.activation || linear_.activation->scheme.dynamic) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(shape("activation scale", linear_.activation->scale, {1}));
    SWAGE_RETURN_IF_ERROR(finite("activation scale", linear_.activation->scale));
    if (linear_.activation->scheme.symmetric) return absl::OkStatus();
    return shape("activation zero", linear_.activation->zero, {1});
  }

 private:
  const CompressedLinear& linear_;
};

}  // namespace

absl::Status validate(const CompressedLinear& linear) {
  const Checker check(linear);
  if (linear.out < 1 || linear.in < 1) {
    return check.wrong("its shape", absl::StrCat(linear.out, " x ", linear.in), "rows and columns");
  }
  if (!linear.codes.defined()) return check.wrong("codes", "missing", "a tensor");
  SWAGE_RETURN_IF_ERROR(check.codes());
  SWAGE_RETURN_IF_ERROR(check.side_paths());
  SWAGE_RETURN_IF_ERROR(check.online_transform());
  return check.activation();
}

}  // namespace swage
