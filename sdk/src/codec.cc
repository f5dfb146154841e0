#include "swage/codec.h"

#include <ATen/ops/isfinite.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "catching.h"
#include "swage/call_site.h"
#include "swage/printable.h"
#include "swage/quant/scalar_grid.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

absl::Status check_matrix(const at::Tensor& weight) {
  if (weight.dim() == 2 && weight.numel() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("a weight to quantize needs two dimensions that are not empty");
}

// Limits stand for groups of equal width, this format's or other ones.
absl::Status check_limits(const at::Tensor& weight, const FitRequest& request, int64_t groups) {
  for (const at::Tensor* limit : {&request.clip_low, &request.clip_high}) {
    if (!limit->defined()) continue;
    const bool fits = limit->dim() == 2 && limit->size(0) == weight.size(0) && limit->size(1) > 0 &&
                      (limit->size(1) == groups || weight.size(1) % limit->size(1) == 0);
    if (fits && request.clip_low.defined() && limit->sizes() == request.clip_low.sizes()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "range limits are [", absl::StrJoin(limit->sizes(), ", "), "], expected both, with ",
        weight.size(0), " rows and ", groups, " groups or a number that divides ", weight.size(1)));
  }
  return absl::OkStatus();
}

// Is the answer of a plugin's format one? A fault says what it was and what was expected.
std::string text_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "an undefined tensor";
  return absl::StrCat(c10::toString(tensor.scalar_type()), " [",
                      absl::StrJoin(tensor.sizes(), ", "), "]");
}

constexpr auto anything = [](const auto&) { return absl::OkStatus(); };

template <class T>
auto at_least(T least) {
  return [least](T found) {
    if (std::isfinite(static_cast<double>(found)) && found >= least) return absl::OkStatus();
    return plugin_fault(absl::StrCat("gives ", found, ", expected ", least, " or more"));
  };
}

absl::Status text_is_there(const std::string& text) {
  return text.empty() ? plugin_fault("gives an empty text") : absl::OkStatus();
}

absl::Status is_float(at::ScalarType type) {
  if (c10::isFloatingType(type)) return absl::OkStatus();
  return plugin_fault(
      absl::StrCat("gives the dtype ", c10::toString(type), ", expected one of floats"));
}

absl::Status are_defined(const Parts& parts) {
  for (const auto& [name, tensor] : parts) {
    if (!tensor.defined())
      return plugin_fault(absl::StrCat("leaves its part \"", name, "\" undefined"));
  }
  return absl::OkStatus();
}

absl::Status is_like(const at::Tensor& found, const at::Tensor& expected) {
  if (found.defined() && found.scalar_type() == expected.scalar_type() &&
      found.sizes() == expected.sizes())
    return absl::OkStatus();
  return plugin_fault(absl::StrCat("gives ", text_of(found), ", expected ", text_of(expected)));
}

absl::Status is_finite_matrix(const at::Tensor& weight, int64_t out, int64_t in) {
  if (!weight.defined() || weight.scalar_type() != at::kFloat ||
      weight.sizes() != at::IntArrayRef({out, in})) {
    return plugin_fault(
        absl::StrCat("gives ", text_of(weight), ", expected Float [", out, ", ", in, "]"));
  }
  if (at::isfinite(weight).all().item<bool>()) return absl::OkStatus();
  return plugin_fault("gives values that are not finite");
}

absl::Status covers(const quant::ScalarGrid& grid, int64_t out, int64_t in) {
  if (grid.table == nullptr) return plugin_fault("gives no table of values");
  if (grid.width < 1 || grid.height < 1)
    return plugin_fault(
        absl::StrCat("gives levels for ", grid.height, " x ", grid.width, " entries"));
  const int64_t rows = (out + grid.height - 1) / grid.height,
                groups = (in + grid.width - 1) / grid.width;
  for (const at::Tensor* tensor : {&grid.scale, &grid.zero, &grid.offset}) {
    const at::Tensor& level = *tensor;
    if (!level.defined() && tensor != &grid.scale) continue;
    const bool fits = level.defined() && level.sizes() == at::IntArrayRef({rows, groups}) &&
                      (level.scalar_type() == at::kFloat || level.scalar_type() == at::kDouble);
    if (!fits) {
      return plugin_fault(absl::StrCat("gives levels as ", text_of(level), ", expected Float [",
                                       rows, ", ", groups, "]"));
    }
  }
  if (!at::isfinite(grid.scale).all().item<bool>())
    return plugin_fault("gives levels that are not finite");
  return absl::OkStatus();
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

absl::Status Codec::within(const char* phase, const std::function<absl::Status()>& call) const {
  if (origin_.empty()) return call();
  return call_plugin({absl::StrCat("format \"", format(), "\""), phase, origin_}, call);
}

template <class Call, class Check>
auto Codec::answer(const char* phase, const Call& call, const Check& check) const {
  if (origin_.empty()) return call();
  decltype(call()) answer{};
  absl::Status status = within(phase, [&] {
    answer = call();
    return check(answer);
  });
  if (!status.ok()) throw StatusError(std::move(status));
  return answer;
}

std::string Codec::describe() const {
  return printable(answer(
      "describe", [&] { return do_describe(); }, text_is_there));
}

std::string Codec::form() const {
  return answer(
      "form", [&] { return do_form(); }, text_is_there);
}

absl::StatusOr<Parts> Codec::fit(const at::Tensor& weight, const FitRequest& request) const {
  SWAGE_RETURN_IF_ERROR(check_matrix(weight));
  if (request.clip_low.defined() || request.clip_high.defined())
    SWAGE_RETURN_IF_ERROR(check_limits(weight, request, group_count(weight.size(1))));
  absl::StatusOr<Parts> parts;
  SWAGE_RETURN_IF_ERROR(within("fit", [&]() -> absl::Status {
    parts = do_fit(weight, request);
    SWAGE_RETURN_IF_ERROR(parts.status());
    if (origin_.empty()) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(are_defined(*parts));
    // Kernels read levels without a look at their shapes. Formats that have no grid say so.
    const absl::StatusOr<quant::ScalarGrid> grid = do_grid(*parts, weight.size(0), weight.size(1));
    return grid.ok() ? covers(*grid, weight.size(0), weight.size(1)) : absl::OkStatus();
  }));
  return parts;
}

Parts Codec::encode(const at::Tensor& weight, Parts levels) const {
  return answer(
      "encode", [&] { return do_encode(weight, std::move(levels)); },
      [&](const Parts& parts) {
        SWAGE_RETURN_IF_ERROR(are_defined(parts));
        const absl::Status own = do_validate(parts, weight.size(0), weight.size(1));
        return own.ok() ? own
                        : plugin_fault(absl::StrCat("gives parts that its own check refuses: ",
                                                    own.message()));
      });
}

at::Tensor Codec::decode(const Parts& parts, int64_t out, int64_t in) const {
  return answer(
      "decode", [&] { return do_decode(parts, out, in); },
      [&](const at::Tensor& weight) { return is_finite_matrix(weight, out, in); });
}

absl::Status Codec::validate(const Parts& parts, int64_t out, int64_t in) const {
  if (out < 1 || in < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("its shape is ", out, " x ", in, ", expected rows and columns"));
  }
  return within("validate", [&] { return do_validate(parts, out, in); });
}

double Codec::code_bits() const {
  return answer(
      "code_bits", [&] { return do_code_bits(); }, at_least(0.0));
}

int64_t Codec::level_bits(const Parts& parts) const {
  return answer(
      "level_bits", [&] { return do_level_bits(parts); }, at_least(int64_t{0}));
}

int64_t Codec::planned_level_bits(int64_t out, int64_t in, at::ScalarType scale_dtype) const {
  return answer(
      "planned_level_bits", [&] { return do_planned_level_bits(out, in, scale_dtype); },
      at_least(int64_t{0}));
}

at::ScalarType Codec::open_scale_type(at::ScalarType storage, bool quantized_input) const {
  return answer(
      "open_scale_type", [&] { return do_open_scale_type(storage, quantized_input); }, is_float);
}

int64_t Codec::column_multiple() const {
  return answer(
      "column_multiple", [&] { return do_column_multiple(); }, at_least(int64_t{1}));
}

int64_t Codec::group_width(int64_t in) const {
  return answer(
      "group_width", [&] { return do_group_width(in); }, at_least(int64_t{1}));
}

bool Codec::takes_limits() const {
  return answer(
      "takes_limits", [&] { return do_takes_limits(); }, anything);
}

bool Codec::wants_importance() const {
  return answer(
      "wants_importance", [&] { return do_wants_importance(); }, anything);
}

bool Codec::wants_fused() const {
  return answer(
      "wants_fused", [&] { return do_wants_fused(); }, anything);
}

bool Codec::shares_tokens() const {
  return answer(
      "shares_tokens", [&] { return do_shares_tokens(); }, anything);
}

at::ScalarType Codec::decoded_type(const Parts& parts) const {
  return answer(
      "decoded_type", [&] { return do_decoded_type(parts); }, is_float);
}

at::Tensor Codec::quantize_input(const at::Tensor& x, const Parts& fixed) const {
  const auto quantized = [&](const at::Tensor& input) {
    return answer(
        "quantize_input", [&] { return do_quantize_input(input, fixed); },
        [&](const at::Tensor& found) { return is_like(found, input); });
  };
  if (!x.requires_grad()) return quantized(x);
  return StraightThrough::apply(x, quantized(x.detach()));
}

Parts Codec::input_levels(float low, float high) const {
  return answer(
      "input_levels", [&] { return do_input_levels(low, high); }, are_defined);
}

int64_t Codec::block_columns() const {
  return answer(
      "block_columns", [&] { return do_block_columns(); }, at_least(int64_t{0}));
}

absl::StatusOr<quant::ScalarGrid> Codec::grid(const Parts& levels, int64_t out, int64_t in) const {
  absl::StatusOr<quant::ScalarGrid> grid;
  SWAGE_RETURN_IF_ERROR(within("grid", [&]() -> absl::Status {
    grid = do_grid(levels, out, in);
    SWAGE_RETURN_IF_ERROR(grid.status());
    return origin_.empty() ? absl::OkStatus() : covers(*grid, out, in);
  }));
  return grid;
}

RoundedBlock Codec::round_block(const at::Tensor& target, const Parts& levels,
                                int64_t first) const {
  return answer(
      "round_block", [&] { return do_round_block(target, levels, first); },
      [&](const RoundedBlock& block) {
        absl::Status status = is_like(block.decoded, target);
        const bool fits =
            block.codes.defined() && block.codes.dim() > 0 && block.codes.size(0) == target.size(0);
        if (status.ok() && !fits) status = plugin_fault("gives no codes for every row");
        return status;
      });
}

const void* Codec::query(std::string_view ability) const {
  return answer(
      "query", [&] { return do_query(ability); }, anything);
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
