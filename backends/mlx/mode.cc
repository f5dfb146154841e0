#include "mode.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::mlx {
namespace {

struct FloatMode {
  const char* name;  // MLX's and ours
  int64_t bits, group;
};
constexpr FloatMode kFloatModes[] = {{"mxfp4", 4, 32}, {"nvfp4", 4, 16}, {"mxfp8", 8, 32}};

const FloatMode* float_mode(const std::string& name) {
  for (const FloatMode& mode : kFloatModes) {
    if (name == mode.name) return &mode;
  }
  return nullptr;
}

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status check_affine(int64_t bits, int64_t group) {
  static const std::set<int64_t> kBits = {2, 3, 4, 5, 6, 8}, kGroups = {32, 64, 128};
  if (kBits.count(bits) == 0)
    return refused(absl::StrCat("MLX has no ", bits, " bits; use 2, 3, 4, 5, 6 or 8"));
  if (kGroups.count(group) == 0)
    return refused(absl::StrCat("MLX has no groups of ", group, "; use group = 32, 64 or 128"));
  return absl::OkStatus();
}

absl::Status check_floats(const Value& keys, const std::string& format) {
  if (keys.str("scale_rule", "floor") == "four-thirds")
    return refused("its scales are powers of two, not thirds of them; use another scale_rule");
  if (keys.str("element", "e4m3") != "e4m3")
    return refused("its numbers of 8 bits are e4m3; use element = \"e4m3\"");
  if (format == "nvfp4" && keys.str("tensor_scale", "divides") != "none")
    return refused(
        "it has no scale of the tensor for linears; write tensor_scale = \"none\" into the scheme");
  return absl::OkStatus();
}

}  // namespace

Value::Table Mode::to_table() const {
  return {{"group_size", group}, {"bits", bits}, {"mode", name}};
}

bool operator==(const Mode& a, const Mode& b) {
  return a.name == b.name && a.bits == b.bits && a.group == b.group;
}

absl::StatusOr<Mode> mode_of(const Codec& codec) {
  const Value keys(codec.scheme().keys);
  if (const FloatMode* const mode = float_mode(codec.format())) {
    SWAGE_RETURN_IF_ERROR(check_floats(keys, codec.format()));
    return Mode{mode->name, mode->bits, mode->group};
  }
  Mode mode;
  if (codec.format() == "affine") {
    mode.bits = keys.i64("bits", 4);
    mode.group = keys.i64("group", 64);
  } else if (codec.format() == "int") {
    SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(codec));
    if (form.float_zeros)
      return refused(
          "it stores minus zero point times scale, which rounds zero points in floats; use format "
          "= \"affine\", whose offsets it stores as they are");
    mode.bits = form.bits;
    mode.group = form.group;
    if (form.group == 0)
      return refused("it has no scale of a whole row; use group = 32, 64 or 128");
  } else {
    return refused(absl::StrCat("it has no place for \"", codec.format(),
                                "\"; use \"affine\", \"int\", \"mxfp4\", \"nvfp4\" or \"mxfp8\""));
  }
  SWAGE_RETURN_IF_ERROR(check_affine(mode.bits, mode.group));
  return mode;
}

absl::StatusOr<Mode> mode_of(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const Mode mode, mode_of(*linear.weight));
  if (linear.activation) return refused("it leaves inputs in floats");
  if (linear.in % mode.group != 0)
    return refused(absl::StrCat(mode.group, " columns share a scale, and rows have ", linear.in));
  if (linear.weight->format() == "int" && !store::integer_form(*linear.weight)->symmetric &&
      store::scale_type(linear) != at::kFloat)
    return refused(
        "it stores minus zero point times scale in the scales' dtype, which has too few bits; use "
        "format = \"affine\", symmetric = true, or scale_dtype = \"fp32\"");
  return mode;
}

absl::StatusOr<Mode> mode_from(const Value& table, const std::string& where) {
  const auto wrong = [&](const std::string& why) {
    return refused(absl::StrCat("config.json: ", where, ": ", why));
  };
  if (table.table() == nullptr)
    return wrong(absl::StrCat("found a ", table.type_name(), ", expected a table"));
  Mode mode;
  mode.name = table.str("mode", "affine");
  const FloatMode* const floats = float_mode(mode.name);
  if (floats == nullptr && !mode.is_affine())
    return wrong(absl::StrCat("the mode \"", mode.name,
                              "\" is not known; known are affine, mxfp4, nvfp4 and mxfp8"));
  mode.bits = table.i64("bits", floats != nullptr ? floats->bits : mode.bits);
  mode.group = table.i64("group_size", floats != nullptr ? floats->group : mode.group);
  if (floats == nullptr) {
    const absl::Status fits = check_affine(mode.bits, mode.group);
    if (!fits.ok()) return wrong(std::string(fits.message()));
  } else if (mode.bits != floats->bits || mode.group != floats->group) {
    return wrong(absl::StrCat(mode.name, " with ", mode.bits, " bits in groups of ", mode.group,
                              ", expected ", floats->bits, " in groups of ", floats->group));
  }
  return mode;
}

Value::Table note_of(const LinearSummary& linear) {
  const Codec& codec = *linear.weight;
  if (codec.format() == "affine") return {};
  if (codec.format() != "int")
    return {{"decoded", Value(codec.scheme().keys).str("decoded", "bf16")}};
  const bool symmetric = store::integer_form(codec)->symmetric;
  return {{"zero", symmetric ? "none" : "int"}};
}

absl::StatusOr<std::shared_ptr<const Codec>> codec_of(const Mode& mode, const Value& note) {
  if (!mode.is_affine()) {
    Scheme scheme;
    scheme.format = mode.name;
    const std::string decoded = note.str("decoded", "bf16");
    if (decoded != "bf16" && decoded != "fp16" && decoded != "fp32")
      return refused(absl::StrCat("config.json: \"decoded\" is \"", decoded,
                                  "\", expected \"bf16\", \"fp16\" or \"fp32\""));
    scheme.keys["decoded"] = decoded;
    return make_codec(scheme);
  }
  const std::string zero = note.str("zero", "offset");
  if (zero == "offset") return make_codec({"affine", {{"bits", mode.bits}, {"group", mode.group}}});
  if (zero != "none" && zero != "int")
    return refused(absl::StrCat("config.json: \"zero\" is \"", zero,
                                "\", expected \"none\", \"int\" or \"offset\""));
  store::IntegerForm form;
  form.bits = static_cast<int>(mode.bits);
  form.group = mode.group;
  form.symmetric = zero == "none";
  return store::integer_codec(form);
}

}  // namespace swage::mlx
