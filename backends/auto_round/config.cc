#include "config.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"
#include "swage/store/config_table.h"
#include "swage/store/gptq_linear.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/module_pattern.h"

namespace swage::auto_round {
namespace {

using store::ConfigTable;
using store::IntegerForm;

constexpr char kPath[] = "quantization_config";
constexpr char kScales[] = "swage_scale_dtype";  // "scale_dtype" is what AutoRound computed with
constexpr int64_t kMostColumns = int64_t{1} << 30;
constexpr int kFloats = 16;  // bits that stand for none
constexpr int kAwqBits = 4;

constexpr char kLessOne[] = "auto_round:auto_gptq", kPlain[] = "auto_round",
               kAwq[] = "auto_round:auto_awq";

const char* name_of(Packing packing) {
  return packing == Packing::kAwq ? kAwq : packing == Packing::kPlain ? kPlain : kLessOne;
}

// By their names in configs, some of which name the kernel that AutoRound would take, too.
const std::map<std::string, Packing, std::less<>>& packings() {
  static const std::map<std::string, Packing, std::less<>> all = {
      {"auto", Packing::kLessOne},
      {kLessOne, Packing::kLessOne},
      {"auto_round:gptq", Packing::kLessOne},
      {"auto_round:auto_gptq:exllamav2", Packing::kLessOne},
      {"auto_round:gptq:exllamav2", Packing::kLessOne},
      {kPlain, Packing::kPlain},
      {"auto_round:gptqmodel", Packing::kPlain},
      {"auto_round:exllamav2", Packing::kPlain},
      {"auto_round:tritonv2", Packing::kPlain},
      {kAwq, Packing::kAwq},
      {"auto_round:awq", Packing::kAwq}};
  return all;
}

Value::Table scheme(const IntegerForm& form) {
  return {{"bits", form.bits},
          {"group_size", form.group == 0 ? -1 : form.group},
          {"sym", form.symmetric}};
}

void read_scheme(ConfigTable* table, IntegerForm* form) {
  if (table->has("bits"))
    form->bits = static_cast<int>(table->integer({"bits"}, {2, 3, 4, 5, 6, 7, 8}));
  const int64_t stated = form->group == 0 ? -1 : form->group;
  const int64_t group = table->integer({"group_size"}, -1, kMostColumns, stated);
  if (group == 0) table->fail("group_size", "-1 or a size");
  form->group = group < 0 ? 0 : group;
  form->symmetric = table->flag("sym", form->symmetric);
  if (table->text({"data_type"}, "int") != "int") table->fail("data_type", "\"int\"");
  if (table->integer({"act_bits"}, 1, 64, kFloats) < kFloats)
    table->fail("act_bits", "16: inputs in floats");
}

// The entry of extra_config that names the linear, else the expression that matches it; null.
absl::StatusOr<Value> find_extra(const Value& extra, const store::StoredModule& module) {
  if (extra.is_null()) return Value();
  ConfigTable check(extra, absl::StrCat(kPath, ".extra_config"));
  SWAGE_RETURN_IF_ERROR(check.status());
  if (extra.has(module.name())) return extra[module.name()];
  std::optional<Value> found;
  for (const auto& [key, says] : *extra.table()) {
    const bool is_module =
        module.tensors().has(key + ".qweight") || module.tensors().has(key + ".weight");
    if (is_module) continue;
    const auto matches = store::matches_expression(key, module.name(), store::Anchor::kAnywhere);
    if (!matches.ok())
      return annotate(matches.status(), absl::StrCat("config.json: ", check.path()));
    if (!*matches) continue;
    if (found && *found != says)
      return absl::InvalidArgumentError(absl::StrCat("config.json: ", check.path(),
                                                     " has several expressions for ", module.name(),
                                                     " that differ, expected one"));
    found = says;
  }
  return found.value_or(Value());
}

absl::Status read_extra(const Value& extra, const store::StoredModule& module, IntegerForm* form) {
  ConfigTable own(extra, absl::StrCat(kPath, ".extra_config.", module.name()));
  if (const int64_t* const bits = extra["bits"].integer(); bits != nullptr && *bits >= kFloats)
    own.fail("bits", absl::StrCat("fewer: there is ", module.full("qweight")));
  read_scheme(&own, form);
  return own.status();
}

}  // namespace

Value make_config(const ExportContext& context, Packing packing) {
  const std::vector<store::IntegerSet> sets = store::integer_sets(context.linears());
  Value::Table block = scheme(sets.front().form);
  block["quant_method"] = "auto-round";
  block["packing_format"] = name_of(packing);
  block["data_type"] = "int";
  const LinearSummary first = store::compressed_of(context.linears()).front();
  block[kScales] = store::dtype_name(store::scale_type(first));
  std::set<std::string> stacks;
  Value::Table extra;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const std::string& name : sets[i].linears) {
      const std::string stack = store::stack_of(name);
      if (!stack.empty()) stacks.insert(stack);
      if (i > 0 || stack.empty()) extra[name] = scheme(sets[i].form);
    }
  }
  for (const std::string& name : store::float_modules(context))
    if (stacks.count(store::stack_of(name)) > 0) extra[name] = Value::Table{{"bits", kFloats}};
  if (!stacks.empty()) block["block_name_to_quantize"] = absl::StrJoin(stacks, ",");
  if (!extra.empty()) block["extra_config"] = std::move(extra);
  return Value(std::move(block));
}

absl::StatusOr<StoredAs> read_config(const Value& block, const store::StoredModule& module) {
  ConfigTable table(block, kPath);
  StoredAs stored;
  const std::string method = table.text({"quant_method"}, "auto-round");
  if (method != "auto-round" && method != "intel/auto-round")
    table.fail("quant_method", "\"auto-round\"");
  if (!table.has("bits")) table.fail("bits", "2 to 8");
  read_scheme(&table, &stored.form);
  table.expect_none("rotation_config");
  const auto packing = packings().find(table.text({"packing_format", "backend"}, kLessOne));
  if (packing == packings().end()) {
    table.fail(table.has("packing_format") ? "packing_format" : "backend",
               absl::StrCat("\"", kLessOne, "\", \"", kAwq, "\" or \"", kPlain, "\""));
  } else {
    stored.packing = packing->second;
  }
  if (const std::string name = table.text({kScales}, ""); !name.empty()) {
    stored.scales = store::dtype_named(name);
    if (stored.scales == at::ScalarType::Undefined) table.fail(kScales, "a type of floats");
  }
  SWAGE_RETURN_IF_ERROR(table.status());
  SWAGE_ASSIGN_OR_RETURN(const Value extra, find_extra(block["extra_config"], module));
  if (!extra.is_null()) SWAGE_RETURN_IF_ERROR(read_extra(extra, module, &stored.form));
  if (stored.packing == Packing::kAwq && stored.form.bits != kAwqBits)
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", kPath, " gives ", module.name(),
                                                   " codes of ", stored.form.bits,
                                                   " bits, expected ", kAwqBits, " in ", kAwq));
  return stored;
}

}  // namespace swage::auto_round
