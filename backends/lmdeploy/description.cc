#include "description.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::lmdeploy {
namespace {

constexpr char kFp8[] = "fp8-e4m3";

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status wrong(const char* key, const Value& found, const std::string& expected) {
  return refused(absl::StrCat("config.json: quantization_config.", key, " is ", to_json(found, -1),
                              ", expected ", expected));
}

std::shared_ptr<const Codec> codec_of(at::ScalarType codes, Value::Table keys) {
  Scheme scheme;
  if (codes != at::kChar) {
    scheme.format = kFp8;
    keys.erase("bits");
  }
  scheme.keys = std::move(keys);
  return *make_codec(scheme);
}

bool is_channel_fp8(const Codec& codec) {
  return codec.format() == kFp8 &&
         Value(codec.scheme().keys).str("granularity", "channel") == "channel";
}

}  // namespace

std::shared_ptr<const Codec> Description::weight() const {
  return codec_of(codes, {{"bits", 8}, {"granularity", "channel"}});
}

std::shared_ptr<const Codec> Description::activation() const {
  return codec_of(codes, {{"bits", 8}, {"granularity", "token"}, {"dynamic", true}});
}

absl::StatusOr<Description> describe(const LinearSummary& linear) {
  Description description;
  if (is_channel_fp8(*linear.weight)) {
    description.codes = at::kFloat8_e4m3fn;
  } else {
    const auto form = store::integer_form(*linear.weight);
    if (!form.ok() || form->bits != 8 || form->group != 0 || !form->symmetric)
      return refused(
          "it has one scale a row and no zero points; use bits = 8 (or format = \"fp8-e4m3\") with "
          "granularity = \"channel\"");
  }
  const std::string wanted = description.activation()->describe();
  const bool fits =
      linear.activation && linear.activation->form() == description.activation()->form();
  if (!fits)
    return refused(absl::StrCat("it quantizes inputs as ", wanted, "; write ",
                                description.codes == at::kChar
                                    ? "activation = { bits = 8 }"
                                    : "activation = { format = \"fp8-e4m3\" }"));
  description.scale_dtype = store::scale_type(linear);
  return description;
}

absl::Status check_alike(const std::vector<LinearSummary>& compressed) {
  for (const LinearSummary& linear : compressed) {
    SWAGE_ASSIGN_OR_RETURN(const Description first, describe(compressed.front()));
    SWAGE_ASSIGN_OR_RETURN(const Description other, describe(linear));
    if (first.codes == other.codes && first.scale_dtype == other.scale_dtype) continue;
    return refused(absl::StrCat(
        "LMDeploy has one scheme for all linears: ", compressed.front().name, " is ",
        compressed.front().weight->describe(), " with scales in ",
        store::dtype_name(first.scale_dtype), ", ", linear.name, " is ", linear.weight->describe(),
        " with scales in ", store::dtype_name(other.scale_dtype), "; give all one scheme"));
  }
  return absl::OkStatus();
}

Value to_config(const Description& description) {
  Value::Table config = {{"quant_method", "smooth_quant"},
                         {"quant_dtype", description.codes == at::kChar ? "int8" : "float8_e4m3fn"},
                         {"modules_to_not_convert", Value::List(description.unconverted.begin(),
                                                                description.unconverted.end())}};
  // A key of our own, which LMDeploy passes over.
  if (description.scale_dtype != at::kFloat)
    config["scale_dtype"] = store::dtype_name(description.scale_dtype);
  return Value(std::move(config));
}

absl::StatusOr<Description> from_config(const Value& config) {
  if (config["quant_method"] != Value("smooth_quant"))
    return wrong("quant_method", config["quant_method"], "\"smooth_quant\"");
  Description description;
  const Value& type = config["quant_dtype"];
  if (type == Value("float8_e4m3fn")) {
    description.codes = at::kFloat8_e4m3fn;
  } else if (!type.is_null() && type != Value("int8")) {
    return wrong("quant_dtype", type, "\"int8\" or \"float8_e4m3fn\"");
  }
  if (const Value& name = config["scale_dtype"]; !name.is_null()) {
    description.scale_dtype =
        name.text() == nullptr ? at::ScalarType::Undefined : store::dtype_named(*name.text());
    if (description.scale_dtype == at::ScalarType::Undefined)
      return wrong("scale_dtype", name, "a dtype such as \"bfloat16\"");
  }
  constexpr char kList[] = "modules_to_not_convert";
  const Value& names = config[kList];
  if (!names.is_null() && names.list() == nullptr) return wrong(kList, names, "a list of names");
  for (const Value& name : names.is_null() ? Value::List() : *names.list()) {
    if (name.text() == nullptr) return wrong(kList, name, "a name");
    description.unconverted.push_back(*name.text());
  }
  return description;
}

}  // namespace swage::lmdeploy
