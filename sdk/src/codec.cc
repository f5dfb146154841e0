#include "swage/codec.h"

#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "swage/quant/scalar_grid.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

absl::Status check_matrix(const at::Tensor& weight) {
  if (weight.dim() == 2 && weight.numel() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("a weight to quantize needs two dimensions that are not empty");
}

// Forward gives the quantized bytes themselves, which x + (q - x) would not.
struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor&,
                            const at::Tensor& quantized) {
    return quantized;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& grads) {
    return {grads[0], at::Tensor()};
  }
};

}  // namespace

const at::Tensor& part(const Parts& parts, std::string_view name) {
  static const at::Tensor none;
  const auto found = parts.find(name);
  return found == parts.end() ? none : found->second;
}

Codec::Codec() = default;
Codec::~Codec() = default;

absl::StatusOr<Parts> Codec::fit(const at::Tensor& weight, const FitRequest& request) const {
  SWAGE_RETURN_IF_ERROR(check_matrix(weight));
  return do_fit(weight, request);
}

Parts Codec::encode(const at::Tensor& weight, Parts levels) const {
  return do_encode(weight, std::move(levels));
}

at::Tensor Codec::decode(const Parts& parts, int64_t out, int64_t in) const {
  return do_decode(parts, out, in);
}

absl::Status Codec::validate(const Parts& parts, int64_t out, int64_t in) const {
  if (out < 1 || in < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("its shape is ", out, " x ", in, ", expected rows and columns"));
  }
  return do_validate(parts, out, in);
}

at::Tensor Codec::quantize_input(const at::Tensor& x, const Parts& fixed) const {
  if (!x.requires_grad()) return do_quantize_input(x, fixed);
  return StraightThrough::apply(x, do_quantize_input(x.detach(), fixed));
}

absl::StatusOr<quant::ScalarGrid> Codec::grid(const Parts& levels, int64_t out, int64_t in) const {
  return do_grid(levels, out, in);
}

RoundedBlock Codec::round_block(const at::Tensor& target, const Parts& levels, int64_t first) const {
  return do_round_block(target, levels, first);
}

std::string Codec::do_form() const { return to_json(to_value(scheme_), -1); }

bool Codec::do_wants_importance() const {
  return Value(scheme_.keys).str("range", "") == "weighted";
}

bool Codec::do_wants_fused() const { return Value(scheme_.keys).str("share", "none") == "fused"; }

absl::StatusOr<quant::ScalarGrid> Codec::do_grid(const Parts&, int64_t, int64_t) const {
  return absl::FailedPreconditionError(
      absl::StrCat(format(), " rounds ", block_columns(), " columns at once: it has no grid"));
}

RoundedBlock Codec::do_round_block(const at::Tensor&, const Parts&, int64_t) const {
  SWAGE_CHECK(block_columns() > 0 && "a block format rounds blocks");
  return {};
}

at::Tensor Codec::do_quantize_input(const at::Tensor& x, const Parts&) const { return x; }

Parts Codec::do_input_levels(float, float) const { return {}; }

const void* Codec::do_query(std::string_view) const { return nullptr; }

}  // namespace swage
