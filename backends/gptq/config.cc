#include "config.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rules.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"

namespace swage::gptq {
namespace {

using store::IntegerForm;

constexpr char kWriter[] = "swage:1.0.0";

int64_t group_size(const IntegerForm& form) { return form.group == 0 ? -1 : form.group; }

Value::Table overrides(const IntegerForm& form) {
  return {{"bits", form.bits}, {"group_size", group_size(form)}, {"sym", form.symmetric}};
}

}  // namespace

Value make_config(const ExportContext& context, bool second_format) {
  const std::vector<store::IntegerSet> sets = store::integer_sets(context.linears());
  const std::vector<LinearSummary> linears = store::compressed_of(context.linears());
  const bool head = std::any_of(linears.begin(), linears.end(), [](const LinearSummary& linear) {
    return linear.place == LinearPlace::kHead;
  });
  bool symmetric = true;
  for (const store::IntegerSet& set : sets) symmetric = symmetric && set.form.symmetric;
  Value::Table block = overrides(sets.front().form);
  block["quant_method"] = "gptq";
  block["checkpoint_format"] = symmetric && !second_format ? "gptq" : "gptq_v2";
  block["pack_dtype"] = "int32";
  block["desc_act"] = false;
  block["lm_head"] = head;
  block["meta"] = Value::Table{{"quantizer", Value::List{kWriter}}};
  block["scale_dtype"] = store::dtype_name(store::scale_type(linears.front()));

  std::vector<std::vector<std::string>> names;
  for (const store::IntegerSet& set : sets) names.push_back(set.linears);
  names.push_back(store::float_modules(context));
  const auto expressions = rule_expressions(std::move(names));
  Value::Table dynamic;
  for (size_t i = 1; i < expressions.size(); ++i) {
    const bool kept = i == sets.size();
    for (const std::string& expression : expressions[i])
      dynamic[absl::StrCat(kept ? "-:" : "+:", expression)] =
          kept ? Value::Table() : overrides(sets[i].form);
  }
  if (!dynamic.empty()) block["dynamic"] = std::move(dynamic);
  return Value(std::move(block));
}

}  // namespace swage::gptq
