#include "arguments.h"

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::compressed_tensors {
namespace {

constexpr char kPowersOfTwo[] = "torch.uint8", kE4m3[] = "torch.float8_e4m3fn";

absl::Status no_words(const std::string& why) { return absl::InvalidArgumentError(why); }

// Strategy and sizes by "granularity".
void set_extent(const Value& keys, const char* fallback, Arguments* arguments) {
  constexpr int64_t kGroup = 128;
  arguments->strategy = keys.str("granularity", fallback);
  if (arguments->strategy == "group") arguments->group_size = keys.i64("group", kGroup);
  if (arguments->strategy != "block") return;
  arguments->block_rows = keys.i64("block_rows", kGroup);
  arguments->block_columns = keys.i64("block_columns", kGroup);
}

absl::StatusOr<Arguments> integers(const Value& keys, bool inputs) {
  Arguments arguments;
  arguments.bits = keys.i64("bits", inputs ? 8 : 4);
  arguments.symmetric = keys.flag("symmetric", true);
  set_extent(keys, inputs ? "token" : "group", &arguments);
  if (keys.str("zero", "int") == "float") return no_words("its zero points are integers");
  if (keys.str("group_scale", "float") != "float") return no_words("its scales have one level");
  if (arguments.strategy == "block")
    return no_words("integers take one scale per group, channel or tensor");
  return arguments;
}

absl::StatusOr<Arguments> fp8(const Value& keys, bool inputs) {
  Arguments arguments;
  arguments.type = "float";
  set_extent(keys, inputs ? "token" : "channel", &arguments);
  if (arguments.strategy == "group" && !inputs)
    return no_words("fp8 weights take one scale per channel, block or tensor");
  return arguments;
}

Arguments scaled_floats(int64_t bits, int64_t group_size, const char* strategy,
                        const char* scale_dtype) {
  Arguments arguments;
  arguments.bits = bits;
  arguments.type = "float";
  arguments.strategy = strategy;
  arguments.group_size = group_size;
  arguments.scale_dtype = scale_dtype;
  return arguments;
}

// What the config does not say of formats with two levels or powers of two is what readers do.
absl::Status check_unsaid(const Value& keys, bool inputs) {
  if (keys.str("decoded", "bf16") != "bf16")
    return no_words("its readers round code times scale to bf16; use decoded = \"bf16\"");
  if (keys.str("tensor_scale", "divides") != "divides")
    return no_words("it stores a divisor for the tensor; use tensor_scale = \"divides\"");
  const std::string rule = keys.str("scale_rule", keys.has("dynamic") ? "even" : "floor");
  if (rule == "four-thirds")
    return no_words("its scales are powers of two, not thirds of them; use another scale_rule");
  if (inputs && rule != "even")
    return no_words("its readers scale inputs by scale_rule = \"even\"; use that");
  return absl::OkStatus();
}

absl::StatusOr<Arguments> of_format(const std::string& format, const Value& keys, bool inputs) {
  if (format == "int") return integers(keys, inputs);
  if (format == "fp8-e4m3") return fp8(keys, inputs);
  if (format == "nvfp4") return scaled_floats(4, 16, "tensor_group", kE4m3);
  if (format == "mxfp4") return scaled_floats(4, 32, "group", kPowersOfTwo);
  if (format == "mxfp8" && keys.str("element", "e4m3") == "e4m3")
    return scaled_floats(8, 32, "group", kPowersOfTwo);
  if (format == "fp8-e5m2" || format == "mxfp8")
    return no_words("its fp8 numbers are e4m3; use format = \"fp8-e4m3\"");
  return no_words(absl::StrCat("it has no place for \"", format, "\""));
}

absl::StatusOr<Arguments> arguments_of(const Codec& codec, bool inputs) {
  const Value keys(codec.scheme().keys);
  SWAGE_ASSIGN_OR_RETURN(Arguments arguments, of_format(codec.format(), keys, inputs));
  if (!arguments.scale_dtype.empty())
    SWAGE_RETURN_IF_ERROR(check_unsaid(keys, inputs && arguments.is_mx()));
  return arguments;
}

}  // namespace

std::string Arguments::strategy_family() const {
  if (is_mx()) return "mx";
  return strategy == "tensor_group" ? "nv" : "plain";
}

absl::StatusOr<Arguments> to_arguments(const Codec& codec) { return arguments_of(codec, false); }

absl::StatusOr<Arguments> input_arguments(const Codec& codec) {
  SWAGE_ASSIGN_OR_RETURN(Arguments arguments, arguments_of(codec, true));
  const Value keys(codec.scheme().keys);
  const bool dynamic = arguments.is_mx() || keys.flag("dynamic", codec.format() != "nvfp4");
  arguments.dynamic = dynamic ? "true" : "false";
  if (codec.format() == "nvfp4") {
    if (dynamic) return no_words("the scale of a whole input is static: write dynamic = false");
    arguments.dynamic = "local";
  }
  return arguments;
}

absl::StatusOr<Scheme> to_scheme(const Arguments& arguments, bool inputs) {
  Scheme scheme;
  if (inputs) scheme.keys["dynamic"] = arguments.dynamic == "true";
  if (arguments.strategy == "tensor_group") {
    if (arguments.type != "float" || arguments.bits != 4 || arguments.group_size != 16)
      return no_words("\"tensor_group\" of anything but 4-bit floats in groups of 16");
    scheme.format = "nvfp4";
    return scheme;
  }
  if (arguments.is_mx() || (arguments.type == "float" && arguments.bits == 4)) {
    if (arguments.type != "float" || arguments.group_size != 32)
      return no_words("scales that are powers of two, of anything but floats in groups of 32");
    scheme.format = arguments.bits == 4 ? "mxfp4" : "mxfp8";
    if (inputs) scheme.keys = {{"dynamic", true}, {"scale_rule", "even"}};
    return scheme;
  }
  scheme.keys["granularity"] = arguments.strategy;
  if (arguments.group_size > 0) scheme.keys["group"] = arguments.group_size;
  if (arguments.strategy == "block") {
    scheme.keys["block_rows"] = arguments.block_rows;
    scheme.keys["block_columns"] = arguments.block_columns;
  }
  if (arguments.type == "float") {
    if (arguments.bits != 8) return no_words("floats of another width than 8 bits");
    scheme.format = "fp8-e4m3";
    return scheme;
  }
  scheme.keys["bits"] = arguments.bits;
  scheme.keys["symmetric"] = arguments.symmetric;
  if (arguments.strategy == "group") scheme.keys["group_tail"] = "short";
  return scheme;
}

// Readers refuse keys that they do not know: these are all that every release has.
Value::Table to_table(const Arguments& arguments) {
  const bool dynamic = arguments.dynamic == "true";
  Value::Table table = {{"num_bits", arguments.bits},
                        {"type", arguments.type},
                        {"symmetric", arguments.symmetric},
                        {"strategy", arguments.strategy},
                        {"group_size", Value()},
                        {"block_structure", Value()},
                        {"dynamic", dynamic},
                        {"actorder", Value()},
                        {"observer", dynamic ? Value() : Value("minmax")},
                        {"observer_kwargs", Value::Table()}};
  if (arguments.dynamic == "local") table["dynamic"] = "local";
  if (arguments.group_size > 0) table["group_size"] = arguments.group_size;
  if (arguments.block_rows > 0)
    table["block_structure"] = Value::List{arguments.block_rows, arguments.block_columns};
  if (!arguments.scale_dtype.empty()) table["scale_dtype"] = arguments.scale_dtype;
  return table;
}

}  // namespace swage::compressed_tensors
