#include "stored_linear.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "packing.h"
#include "swage/status.h"

namespace swage::compressed_tensors {
namespace {

using Shape = std::vector<int64_t>;
using Types = std::vector<at::ScalarType>;

const Types kScaleTypes = {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble};
constexpr int64_t kMaxSide = int64_t{1} << 40;  // rows or columns; sizes in bits then fit 64 bits

bool per_tensor(const WeightScheme& scheme) { return scheme.granularity == Granularity::kTensor; }

std::string shown(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

// --- writing ---

// Packed zero points run along the rows, which are therefore the columns of what is packed.
at::Tensor stored_zeros(const CompressedLinear& linear, Layout layout) {
  if (per_tensor(linear.scheme)) return linear.zeros.reshape({1});
  if (layout != Layout::kPacked) return linear.zeros;
  return pack(linear.zeros.t(), linear.scheme.bits).t().contiguous();
}

absl::Status put_activation(const CompressedLinear& linear, TensorSink& sink) {
  if (!linear.activation || linear.activation->scheme.dynamic) return absl::OkStatus();
  const ActivationQuantizer& input = *linear.activation;
  if (!input.scheme.symmetric) {
    const at::Tensor zero = input.zero.to(at::kChar);
    if (!at::equal(zero.to(at::kFloat), input.zero.to(at::kFloat))) {
      return absl::InvalidArgumentError(
          absl::StrCat(linear.name, ": the zero point of its input is ", input.zero.item<double>(),
                       ", expected an integer of 8 bits"));
    }
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name + ".input_zero_point", zero));
  }
  return sink.put(linear.name + ".input_scale", input.scale.to(at::kFloat));
}

// --- reading ---

// Tensors of one module, checked before they are read.
class Module {
 public:
  Module(const std::string& name, const WeightSource& tensors) : name_(name), tensors_(tensors) {}

  bool has(const char* part) const { return tensors_.has(full(part)); }

  absl::Status wrong(const char* part, const std::string& found,
                     const std::string& expected) const {
    return absl::InvalidArgumentError(
        absl::StrCat(full(part), " is ", found, ", expected ", expected));
  }

  absl::StatusOr<Shape> shape(const char* part, size_t rank) const {
    if (!has(part)) return wrong(part, "missing", "a tensor by quantization_config");
    SWAGE_ASSIGN_OR_RETURN(Shape found, tensors_.shape(full(part)));
    bool fits = found.size() == rank;
    for (const int64_t side : found) fits = fits && side >= 1 && side <= kMaxSide;
    if (fits) return found;
    return wrong(part, shown(found), absl::StrCat("a shape of ", rank, " sizes above 0"));
  }

  absl::StatusOr<at::Tensor> read(const char* part, const Types& types,
                                  const Shape& expected) const {
    if (!has(part)) return wrong(part, "missing", shown(expected));
    SWAGE_ASSIGN_OR_RETURN(const Shape found, tensors_.shape(full(part)));
    // A single number is also written without a dimension.
    const bool scalar = found.empty() && expected == Shape{1};
    if (found != expected && !scalar) return wrong(part, shown(found), shown(expected));
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, tensors_.dtype(full(part)));
    if (std::find(types.begin(), types.end(), type) == types.end()) {
      const auto name = [](std::string* out, at::ScalarType t) { out->append(c10::toString(t)); };
      return wrong(part, c10::toString(type), absl::StrJoin(types, " or ", name));
    }
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, tensors_.read(full(part)));
    return tensor.reshape(expected);
  }

  absl::Status expect_absent(const char* part, const char* why) const {
    return has(part) ? wrong(part, "there", why) : absl::OkStatus();
  }

 private:
  std::string full(const char* part) const { return absl::StrCat(name_, ".", part); }
  const std::string& name_;
  const WeightSource& tensors_;
};

absl::Status read_packed_codes(const Module& module, CompressedLinear* linear) {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor shape, module.read("weight_shape", {at::kLong}, {2}));
  linear->out = shape[0].item<int64_t>();
  linear->in = shape[1].item<int64_t>();
  if (linear->out < 1 || linear->out > kMaxSide || linear->in < 1 || linear->in > kMaxSide)
    return module.wrong("weight_shape", shown({linear->out, linear->in}), "rows and columns");
  const int bits = linear->scheme.bits;
  SWAGE_ASSIGN_OR_RETURN(
      const at::Tensor words,
      module.read("weight_packed", {at::kInt}, {linear->out, packed_words(linear->in, bits)}));
  linear->codes = unpack(words, bits, linear->in);
  return absl::OkStatus();
}

absl::Status read_codes(const Module& module, Layout layout, CompressedLinear* linear) {
  if (layout == Layout::kPacked) return read_packed_codes(module, linear);
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  linear->out = shape[0];
  linear->in = shape[1];
  const at::ScalarType type = layout == Layout::kInt ? at::kChar : at::kFloat8_e4m3fn;
  SWAGE_ASSIGN_OR_RETURN(linear->codes, module.read("weight", {type}, shape));
  return absl::OkStatus();
}

absl::Status read_zeros(const Module& module, Layout layout, CompressedLinear* linear) {
  constexpr char kPart[] = "weight_zero_point";
  const WeightScheme& scheme = linear->scheme;
  if (scheme.symmetric) return module.expect_absent(kPart, "none in a symmetric scheme");
  const int64_t groups = scheme.group_count(linear->in);
  if (layout != Layout::kPacked || per_tensor(scheme)) {
    const Shape shape = per_tensor(scheme) ? Shape{1} : Shape{linear->out, groups};
    SWAGE_ASSIGN_OR_RETURN(linear->zeros, module.read(kPart, {at::kChar}, shape));
    linear->zeros = linear->zeros.reshape(linear->scales.sizes());
    return absl::OkStatus();
  }
  const int64_t words = packed_words(linear->out, scheme.bits);
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor packed, module.read(kPart, {at::kInt}, {words, groups}));
  linear->zeros = unpack(packed.t(), scheme.bits, linear->out).t().contiguous();
  return absl::OkStatus();
}

absl::Status read_activation(const Module& module, const ActivationScheme& scheme,
                             CompressedLinear* linear) {
  ActivationQuantizer& quantizer = linear->activation.emplace();
  quantizer.scheme = scheme;
  if (scheme.dynamic) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scale, module.read("input_scale", kScaleTypes, {1}));
  quantizer.scale = scale.to(at::kFloat);
  if (scheme.symmetric) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor zero, module.read("input_zero_point", {at::kChar}, {1}));
  quantizer.zero = zero.to(at::kFloat);
  return absl::OkStatus();
}

}  // namespace

absl::Status write_linear(const CompressedLinear& linear, Layout layout, TensorSink& sink) {
  const bool packed = layout == Layout::kPacked;
  SWAGE_RETURN_IF_ERROR(put_activation(linear, sink));
  SWAGE_RETURN_IF_ERROR(
      packed ? sink.put(linear.name + ".weight_packed", pack(linear.codes, linear.scheme.bits))
             : sink.put(linear.name + ".weight", linear.codes));
  if (packed) {
    const at::Tensor shape = at::tensor(at::ArrayRef<int64_t>{linear.out, linear.in}, at::kLong);
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name + ".weight_shape", shape));
  }
  const at::Tensor scales = per_tensor(linear.scheme) ? linear.scales.reshape({1}) : linear.scales;
  SWAGE_RETURN_IF_ERROR(sink.put(linear.name + ".weight_scale", scales));
  if (!linear.zeros.defined()) return absl::OkStatus();
  return sink.put(linear.name + ".weight_zero_point", stored_zeros(linear, layout));
}

absl::StatusOr<CompressedLinear> read_linear(const std::string& name, const StoredAs& stored,
                                             const WeightSource& tensors) {
  const Module module(name, tensors);
  CompressedLinear linear;
  linear.name = name;
  linear.scheme = stored.quantization.weight;
  SWAGE_RETURN_IF_ERROR(
      module.expect_absent("weight_g_idx", "none: groups of scattered columns are not supported"));
  SWAGE_RETURN_IF_ERROR(read_codes(module, stored.layout, &linear));
  const bool one = per_tensor(linear.scheme);
  const int64_t groups = linear.scheme.group_count(linear.in);
  SWAGE_ASSIGN_OR_RETURN(linear.scales, module.read("weight_scale", kScaleTypes,
                                                    one ? Shape{1} : Shape{linear.out, groups}));
  if (one) linear.scales = linear.scales.reshape({1, 1});
  SWAGE_RETURN_IF_ERROR(read_zeros(module, stored.layout, &linear));
  if (const auto& activation = stored.quantization.activation)
    SWAGE_RETURN_IF_ERROR(read_activation(module, *activation, &linear));
  return linear;
}

absl::Status no_result(const std::string& name, const WeightSource& tensors) {
  const std::string weight = name + ".weight";
  if (!tensors.has(weight)) {
    return absl::InvalidArgumentError(absl::StrCat(
        weight, " is missing, expected floats: quantization_config does not name ", name));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, tensors.dtype(weight));
  if (std::find(kScaleTypes.begin(), kScaleTypes.end(), type) != kScaleTypes.end())
    return absl::NotFoundError(absl::StrCat(name, " is not quantized: ", weight, " holds floats"));
  return absl::InvalidArgumentError(
      absl::StrCat(weight, " is ", c10::toString(type),
                   ", expected floats: quantization_config does not name ", name));
}

}  // namespace swage::compressed_tensors
