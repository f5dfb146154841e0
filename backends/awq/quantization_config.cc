#include "quantization_config.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "swage/status.h"
#include "swage/store/awq_linear.h"

namespace swage::awq {
namespace {

constexpr int kBits = 4;
constexpr int64_t kGreatestGroup = int64_t{1} << 40;

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status wrong(const std::string& key, const Value& found, const std::string& expected) {
  return refused(absl::StrCat("config.json: quantization_config.", key, " is ", to_json(found, -1),
                              ", expected ", expected));
}

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

bool is_part_of_any(const std::string& text, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return absl::StrContains(name, text); });
}

// The path up to some module, the shortest that no compressed linear's name holds; "" if all do.
// What is left as a whole is named as a whole, since readers join linears and call what they get
// otherwise.
std::string shortest_path(const std::vector<std::string>& words,
                          const std::vector<std::string>& compressed) {
  for (size_t count = 1; count <= words.size(); ++count) {
    std::string path = absl::StrJoin(words.begin(), words.begin() + count, ".");
    if (!is_part_of_any(path, compressed)) return path;
  }
  return "";
}

void add_once(const std::string& name, std::vector<std::string>* names) {
  if (std::find(names->begin(), names->end(), name) == names->end()) names->push_back(name);
}

absl::Status read_list(const Value& config, Description* description) {
  constexpr char kKey[] = "modules_to_not_convert";
  const Value& names = config[kKey];
  if (names.is_null()) return absl::OkStatus();
  if (names.list() == nullptr) return wrong(kKey, names, "a list of names, or null");
  for (const Value& name : *names.list()) {
    if (name.text() == nullptr || name.text()->empty()) return wrong(kKey, name, "a name");
    description->unconverted.push_back(*name.text());
  }
  return absl::OkStatus();
}

// The value under the first of two keys that is there: as AutoAWQ spells it, and as its own file
// quant_config.json did.
std::pair<std::string, const Value*> either(const Value& config, const char* key,
                                            const char* older) {
  return config.has(key) || !config.has(older) ? std::pair(std::string(key), &config[key])
                                               : std::pair(std::string(older), &config[older]);
}

}  // namespace

bool Description::leaves(const std::string& module) const {
  return std::any_of(unconverted.begin(), unconverted.end(),
                     [&](const std::string& part) { return absl::StrContains(module, part); });
}

absl::StatusOr<Description> describe(const LinearSummary& linear) {
  SWAGE_RETURN_IF_ERROR(store::awq_fits(linear));
  Description description;
  SWAGE_ASSIGN_OR_RETURN(description.form, store::integer_form(*linear.weight));
  description.scale_dtype = store::scale_type(linear);
  return description;
}

absl::Status check_alike(const std::vector<LinearSummary>& compressed) {
  for (const LinearSummary& linear : compressed) {
    SWAGE_ASSIGN_OR_RETURN(const Description first, describe(compressed.front()));
    SWAGE_ASSIGN_OR_RETURN(const Description other, describe(linear));
    const bool alike = first.form.group == other.form.group &&
                       first.form.symmetric == other.form.symmetric &&
                       first.scale_dtype == other.scale_dtype;
    if (alike) continue;
    const auto shown = [](const LinearSummary& one, const Description& description) {
      return absl::StrCat(one.name, " is ", one.weight->describe(), " with scales in ",
                          store::dtype_name(description.scale_dtype));
    };
    return refused(absl::StrCat(
        "AWQ has one scheme for all linears: ", shown(compressed.front(), first), ", ",
        shown(linear, other),
        "; give both one scheme, or keep one, or export with use = ", "\"compressed-tensors\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> names_to_leave(
    const std::vector<std::string>& floats, const std::vector<std::string>& compressed) {
  std::vector<std::string> names;
  for (const std::string& module : floats) {
    const std::vector<std::string> words = absl::StrSplit(module, '.');
    const std::string path = shortest_path(words, compressed);
    if (path.empty())
      return refused(absl::StrCat(
          module,
          " stays in floats, and its name is part of that of a compressed linear, which readers of "
          "AWQ would leave too; keep that linear, or export with use = \"compressed-tensors\""));
    add_once(path, &names);
    // Some readers put other words in front of it.
    for (const absl::string_view word : absl::StrSplit(path, '.'))
      if (!is_number(std::string(word)) && !is_part_of_any(std::string(word), compressed))
        add_once(std::string(word), &names);
  }
  return names;
}

Value to_config(const Description& description) {
  const store::IntegerForm& form = description.form;
  Value::Table config = {
      {"quant_method", "awq"}, {"version", "gemm"},
      {"bits", form.bits},     {"group_size", form.group == 0 ? int64_t{-1} : form.group},
      {"zero_point", true},    {"modules_to_not_convert", Value()}};
  if (!description.unconverted.empty())
    config["modules_to_not_convert"] =
        Value::List(description.unconverted.begin(), description.unconverted.end());
  // Keys of our own, which other readers pass over.
  if (form.symmetric) config["symmetric"] = true;
  if (description.scale_dtype != at::kHalf)
    config["scale_dtype"] = store::dtype_name(description.scale_dtype);
  return Value(std::move(config));
}

absl::StatusOr<Description> from_config(const Value& config) {
  if (config["quant_method"] != Value("awq"))
    return wrong("quant_method", config["quant_method"], "\"awq\"");
  const std::string* const version = config["version"].text();
  if (config.has("version") && (version == nullptr || absl::AsciiStrToLower(*version) != "gemm"))
    return wrong("version", config["version"],
                 "\"gemm\", the only layout of AWQ that is read; AutoAWQ can save the original "
                 "model again with version = \"gemm\"");
  Description description;
  const auto [bits_key, bits] = either(config, "bits", "w_bit");
  if (*bits != Value(kBits)) return wrong(bits_key, *bits, "4");
  const auto [group_key, group] = either(config, "group_size", "q_group_size");
  const int64_t* const columns = group->integer();
  const bool fits =
      columns != nullptr && (*columns == -1 || (*columns > 0 && *columns <= kGreatestGroup));
  if (!fits) return wrong(group_key, *group, "the columns of a group, or -1 for whole rows");
  description.form.group = std::max<int64_t>(*columns, 0);
  for (const char* key : {"zero_point", "symmetric"})
    if (config.has(key) && config[key].boolean() == nullptr)
      return wrong(key, config[key], "true or false");
  description.form.symmetric = config.flag("symmetric", false) || !config.flag("zero_point", true);
  if (config.has("scale_dtype")) {
    const Value& name = config["scale_dtype"];
    if (name.text() != nullptr) description.scale_dtype = store::dtype_named(*name.text());
    if (description.scale_dtype == at::ScalarType::Undefined)
      return wrong("scale_dtype", name, "a dtype such as \"bfloat16\"");
  }
  SWAGE_RETURN_IF_ERROR(read_list(config, &description));
  return description;
}

}  // namespace swage::awq
