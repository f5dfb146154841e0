#include "swage/store/integer_form.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::store {
namespace {

constexpr std::pair<at::ScalarType, const char*> kTypes[] = {{at::kFloat, "float32"},
                                                             {at::kHalf, "float16"},
                                                             {at::kBFloat16, "bfloat16"},
                                                             {at::kDouble, "float64"}};
// As schemes spell them.
constexpr std::pair<const char*, at::ScalarType> kKeys[] = {
    {"bf16", at::kBFloat16}, {"fp16", at::kHalf}, {"fp32", at::kFloat}};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

}  // namespace

absl::StatusOr<IntegerForm> integer_form(const Codec& codec) {
  if (codec.format() != "int")
    return refused(absl::StrCat("it has no place for \"", codec.format(),
                                "\"; use format = \"int\" (or none)"));
  const Value keys(codec.scheme().keys);
  const std::string granularity = keys.str("granularity", "group");
  if (granularity != "group" && granularity != "channel")
    return refused(absl::StrCat("it has one scale a group or a row, none for a ", granularity,
                                "; use granularity = \"group\" or \"channel\""));
  if (keys.str("group_scale", "float") != "float")
    return refused("its scales have one level; use group_scale = \"float\"");
  IntegerForm form;
  form.bits = static_cast<int>(keys.i64("bits", 4));
  form.group = granularity == "group" ? keys.i64("group", 128) : 0;
  form.symmetric = keys.flag("symmetric", true);
  form.float_zeros = !form.symmetric && keys.str("zero", "int") == "float";
  return form;
}

absl::StatusOr<std::shared_ptr<const Codec>> integer_codec(const IntegerForm& form) {
  Scheme scheme;
  scheme.keys = {{"bits", form.bits},
                 {"granularity", form.group == 0 ? "channel" : "group"},
                 {"symmetric", form.symmetric}};
  if (form.group != 0) {
    scheme.keys["group"] = form.group;
    scheme.keys["group_tail"] = "short";
  }
  if (form.float_zeros) scheme.keys["zero"] = "float";
  return make_codec(scheme);
}

at::ScalarType scale_type(const LinearSummary& linear) {
  const std::string stated = Value(linear.weight->scheme().keys).str("scale_dtype", "auto");
  for (const auto& [key, type] : kKeys) {
    if (stated == key) return type;
  }
  return linear.scale_dtype;
}

absl::StatusOr<at::Tensor> cast_exactly(const at::Tensor& values, at::ScalarType type) {
  at::Tensor cast = values.to(type);
  const at::Tensor other = cast.to(at::kDouble).ne(values.to(at::kDouble));
  if (!other.any().item<bool>()) return cast;
  const double first = values.masked_select(other)[0].item<double>();
  return refused(absl::StrCat("the scale ", first, " is no number of ", dtype_name(type),
                              "; write scale_dtype = \"fp16\" into the weight scheme"));
}

const char* dtype_name(at::ScalarType type) {
  for (const auto& [known, name] : kTypes) {
    if (known == type) return name;
  }
  return c10::toString(type);
}

at::ScalarType dtype_named(const std::string& name) {
  for (const auto& [type, known] : kTypes) {
    if (name == known) return type;
  }
  return at::ScalarType::Undefined;
}

}  // namespace swage::store
