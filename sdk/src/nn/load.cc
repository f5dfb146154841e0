#include "swage/nn/load.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

// One value, repeated: how a model is loaded that only its shapes are known of.
bool is_repeated(const at::Tensor& tensor) {
  const at::IntArrayRef strides = tensor.strides();
  return tensor.numel() > 1 &&
         std::all_of(strides.begin(), strides.end(), [](int64_t stride) { return stride == 0; });
}

int64_t first_not_finite(const at::Tensor& tensor) {
  const auto count = static_cast<size_t>(tensor.numel());
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return kernels::find_not_finite<uint16_t>(
          static_cast<const uint16_t*>(tensor.const_data_ptr()), count, 0x7f80);
    case at::kHalf:
      return kernels::find_not_finite<uint16_t>(
          static_cast<const uint16_t*>(tensor.const_data_ptr()), count, 0x7c00);
    case at::kFloat:
      return kernels::find_not_finite<uint32_t>(
          static_cast<const uint32_t*>(tensor.const_data_ptr()), count, 0x7f800000);
    case at::kDouble:
      return kernels::find_not_finite<uint64_t>(
          static_cast<const uint64_t*>(tensor.const_data_ptr()), count, 0x7ff0000000000000);
    default:
      return first_not_finite(tensor.to(at::kFloat));  // fp8
  }
}

std::string index_text(int64_t flat, at::IntArrayRef shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0; flat /= shape[d]) index[d] = flat % shape[d];
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

absl::Status wanted(absl::Status error, const std::vector<int64_t>& shape) {
  error.SetPayload(kWantedShape, absl::Cord(absl::StrJoin(shape, ",")));
  return error;
}

}  // namespace

absl::StatusOr<at::Tensor> read_checked(const WeightSource& source, const std::string& name,
                                        const std::vector<int64_t>& shape) {
  const auto found = source.shape(name);
  if (absl::IsNotFound(found.status())) return wanted(found.status(), shape);
  SWAGE_RETURN_IF_ERROR(found.status());
  if (*found != shape) {
    return wanted(absl::InvalidArgumentError(
                      absl::StrCat("tensor ", name, " has shape [", absl::StrJoin(*found, ", "),
                                   "], config.json asks for [", absl::StrJoin(shape, ", "), "]")),
                  shape);
  }
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, source.dtype(name));
  if (!at::isFloatingType(type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, " is stored as ", at::toString(type),
                     ", expected a floating point dtype: is the checkpoint already quantized?"));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, source.read(name));
  if (is_repeated(stored)) return stored;
  const at::Tensor tensor = stored.contiguous();
  const int64_t bad = first_not_finite(tensor);
  if (bad >= 0) {
    const double value = tensor.flatten()[bad].to(at::kDouble).item<double>();
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, " holds ", std::isnan(value) ? "NaN" : "infinity", " at ",
                     index_text(bad, tensor.sizes()),
                     ": the checkpoint is damaged or was saved after an overflow"));
  }
  return tensor;
}

absl::StatusOr<Parameter> load_parameter(const WeightSource& source, const std::string& name,
                                         const std::vector<int64_t>& shape,
                                         const LoadOptions& options) {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, read_checked(source, name, shape));
  return Parameter{name, stored.to(options.device, options.compute), stored.scalar_type()};
}

absl::StatusOr<Linear> load_linear(const WeightSource& source, const std::string& module,
                                   int64_t out, int64_t in, bool bias, const LoadOptions& options) {
  SWAGE_ASSIGN_OR_RETURN(Parameter weight,
                         load_parameter(source, module + ".weight", {out, in}, options));
  Linear linear;
  linear.name = module;
  linear.weight = std::move(weight.value);
  linear.storage = weight.storage;
  if (bias) {
    SWAGE_ASSIGN_OR_RETURN(Parameter values,
                           load_parameter(source, module + ".bias", {out}, options));
    linear.bias = std::move(values.value);
  }
  return linear;
}

}  // namespace swage::nn
