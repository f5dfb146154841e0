#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/serve/engine_search.h"
#include "core/serve/rule_fit.h"

namespace swage {
namespace {

void add(const std::string& what, const std::vector<std::string>& words, std::string* text) {
  if (!words.empty()) absl::StrAppend(text, "\n", what, "\n  ", absl::StrJoin(words, " "), "\n");
}

std::string export_text(const ExportRules& rules) {
  std::string text = absl::StrCat("\n[[export]] use = \"", rules.use, "\"\n");
  if (!rules.refused.empty()) return absl::StrCat(text, "  Not read: ", rules.refused, "\n");
  if (rules.floats) return text + "  Read as floats, whatever the scheme.\n";
  for (const AcceptRule& rule : rules.accepts) absl::StrAppend(&text, "  ", describe(rule), "\n");
  for (const SchemeConditions& kv : rules.kv)
    absl::StrAppend(&text, "  cache of keys and values: ", describe(kv), "\n");
  if (rules.one_scheme) text += "  One scheme for all linears.\n";
  if (rules.whole) text += "  All linears of the blocks are compressed.\n";
  if (rules.act_order) text += "  Groups may be scattered (act-order).\n";
  if (rules.masks) text += "  Masks are used.\n";
  if (rules.transforms)
    absl::StrAppend(&text, "  Transforms of inputs at run time",
                    rules.transforms_alone ? " on one device.\n" : ".\n");
  return text;
}

}  // namespace

std::string describe(const EngineProfile& profile) {
  std::string text = absl::StrCat(profile.name, ": engine profile, ", profile.file, "\n",
                                  profile.engine, ". ", profile.summary, "\n");
  for (const ExportRules& rules : profile.exports) text += export_text(rules);
  add("Must stay in floats", profile.never, &text);
  for (const std::vector<std::string>& set : profile.fused)
    add("Computed in one matrix", set, &text);
  const char* const kBy[] = {"a layer", "a layer, by projection", "the model"};
  if (!profile.experts.empty())
    absl::StrAppend(&text, "\nComputed together, with one scheme\n  children of \"",
                    profile.experts, "\" of ", kBy[static_cast<int>(profile.experts_by)], "\n");
  add("Outputs are shared out among devices", profile.split.column, &text);
  add("Inputs are shared out among devices", profile.split.row, &text);
  return text;
}

}  // namespace swage
