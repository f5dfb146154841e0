#include "swage/store/fp8_form.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::store {
namespace {

using Extent = Fp8Form::Extent;
using Shape = StoredModule::Shape;

constexpr char kFormat[] = "fp8-e4m3", kScales[] = "scales", kOuter[] = "outer_scales";
constexpr int64_t kSide = 128;  // of blocks and groups whose scheme does not say

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

int64_t cuts(int64_t size, int64_t side) { return (size + side - 1) / side; }

Shape shape_of_scales(const Fp8Form& form, int64_t out, int64_t in) {
  if (form.extent == Extent::kTensor) return {1, 1};
  if (form.extent == Extent::kChannel) return {out, 1};
  return {cuts(out, form.rows), cuts(in, form.columns)};
}

}  // namespace

absl::StatusOr<Fp8Form> fp8_form(const Codec& codec) {
  if (codec.format() != kFormat)
    return refused(absl::StrCat("it has no place for \"", codec.format(), "\"; use format = \"",
                                kFormat, "\""));
  const Value keys(codec.scheme().keys);
  const std::string granularity = keys.str("granularity", "channel");
  if (granularity == "tensor") return Fp8Form{Extent::kTensor};
  if (granularity == "channel") return Fp8Form{Extent::kChannel};
  if (granularity == "block")
    return Fp8Form{Extent::kBlock, keys.i64("block_rows", kSide), keys.i64("block_columns", kSide)};
  return refused(absl::StrCat("it has no scale for a ", granularity, " of fp8 weights"));
}

absl::StatusOr<std::shared_ptr<const Codec>> fp8_codec(const Fp8Form& form) {
  constexpr const char* kNames[] = {"tensor", "channel", "block"};
  Scheme scheme;
  scheme.format = kFormat;
  scheme.keys = {{"granularity", kNames[static_cast<size_t>(form.extent)]}};
  if (form.extent == Extent::kBlock) {
    scheme.keys["block_rows"] = form.rows;
    scheme.keys["block_columns"] = form.columns;
  }
  return make_codec(scheme);
}

absl::StatusOr<Fp8Input> fp8_input(const Codec& codec) {
  if (codec.format() != kFormat)
    return refused(absl::StrCat("its inputs are fp8 as its weights; use activation = { format = \"",
                                kFormat, "\" }"));
  const Value keys(codec.scheme().keys);
  Fp8Input input;
  input.dynamic = keys.flag("dynamic", true);
  const std::string granularity = keys.str("granularity", "token");
  if (input.dynamic && granularity == "tensor")
    return refused(
        "no engine has one scale for all tokens of a sequence that follows them; use granularity = "
        "\"token\", or dynamic = false");
  if (granularity == "group") input.group = keys.i64("group", kSide);
  return input;
}

absl::StatusOr<std::shared_ptr<const Codec>> fp8_input_codec(const Fp8Input& input) {
  Scheme scheme;
  scheme.format = kFormat;
  scheme.keys = {{"dynamic", input.dynamic}, {"granularity", "token"}};
  if (!input.dynamic) scheme.keys["granularity"] = "tensor";
  if (input.group > 0) {
    scheme.keys["granularity"] = "group";
    scheme.keys["group"] = input.group;
  }
  return make_codec(scheme);
}

absl::Status check_fp32_scales(const LinearSummary& linear) {
  const at::ScalarType type = scale_type(linear);
  if (type == at::kFloat) return absl::OkStatus();
  return refused(absl::StrCat("its scales are fp32 and these would be ", dtype_name(type),
                              ", to which no engine rounds weights; write scale_dtype = \"fp32\" "
                              "into the weight scheme"));
}

absl::Status put_fp8(const Result& linear, const char* scale, TensorSink& sink) {
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, fp8_form(*linear.codec()));
  at::Tensor scales = linear.part(kScales);
  if (scales.scalar_type() != at::kFloat)
    return refused(absl::StrCat("its scales are ", dtype_name(scales.scalar_type()),
                                ", expected fp32; write scale_dtype = \"fp32\""));
  if (form.extent == Extent::kTensor) scales = scales.reshape({});
  if (form.extent == Extent::kChannel) scales = scales.reshape({linear.out()});
  SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".weight", linear.part("codes")));
  return sink.put(absl::StrCat(linear.name(), ".", scale), scales);
}

absl::StatusOr<Result> read_fp8(const StoredModule& module, const Fp8Form& form,
                                const char* scale) {
  SWAGE_ASSIGN_OR_RETURN(const Shape shape, module.shape("weight", 2));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes,
                         module.read("weight", {at::kFloat8_e4m3fn}, shape));
  Shape expected = shape_of_scales(form, shape[0], shape[1]);
  if (form.extent == Extent::kTensor) expected = {1};
  if (form.extent == Extent::kChannel) expected = {shape[0]};
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales, module.read(scale, float_types(), expected));
  SWAGE_ASSIGN_OR_RETURN(auto codec, fp8_codec(form));
  Parts parts = {
      {"codes", codes},
      {kScales, scales.to(at::kFloat).reshape(shape_of_scales(form, shape[0], shape[1]))}};
  return Result(module.name(), std::move(codec), shape[0], shape[1], std::move(parts));
}

absl::Status put_input_scale(const Result& linear, const char* scale, TensorSink& sink) {
  if (!linear.activation()) return absl::OkStatus();
  for (const char* part : {kOuter, kScales}) {
    const at::Tensor& level = swage::part(linear.activation()->levels, part);
    if (level.defined())
      return sink.put(absl::StrCat(linear.name(), ".", scale), level.to(at::kFloat).reshape({}));
  }
  return absl::OkStatus();
}

absl::StatusOr<ActivationQuantizer> read_input_scale(const StoredModule& module,
                                                     std::shared_ptr<const Codec> codec,
                                                     const char* scale) {
  ActivationQuantizer quantizer{std::move(codec), {}};
  const Parts wanted = quantizer.codec->input_levels(-1, 1);
  if (wanted.empty()) {
    SWAGE_RETURN_IF_ERROR(module.expect_absent(scale, "none: scales of its inputs are dynamic"));
    return quantizer;
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor level, module.read(scale, float_types(), {1}));
  const char* const part = wanted.count(kOuter) != 0 ? kOuter : kScales;
  quantizer.levels[part] = level.to(at::kFloat).reshape({1, 1});
  return quantizer;
}

}  // namespace swage::store
