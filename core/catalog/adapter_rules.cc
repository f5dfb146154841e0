#include "core/catalog/adapter_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/glob.h"
#include "swage/status.h"

namespace swage {
namespace {

void spell(const Spelling& spelling, std::vector<std::string>* globs) {
  for (std::string& glob : *globs) glob = spelling.stored_glob(glob);
}

void add(const std::vector<std::string>& globs, const Spelling& spelling,
         std::vector<std::string>* all) {
  for (const std::string& glob : globs) all->push_back(spelling.stored_glob(glob));
}

// Of the language model: a table of config.json or, where there is none, the whole of it.
Value language_config(const Value& config, const ComponentManifest& adapter) {
  const bool whole = config[adapter.language].is_null();
  Value result = whole ? config : config[adapter.language];
  if (result.table() == nullptr || (!whole && result.has("model_type"))) return result;
  result.table()->erase("architectures");
  (*result.table())["model_type"] = adapter.language_type;
  return result;
}

// Where the language model has a table of its own, a head that is stored counts, whatever either
// tie_word_embeddings says: transformers 5 ties by the outer one, earlier ones by the table's.
void settle_head(const Value& config, const std::vector<std::string>& names, AdapterRules* rules) {
  Value::Table* const language = rules->language_config.table();
  if (language == nullptr || config[rules->manifest.language].is_null()) return;
  const std::string head = rules->language->component->head + ".weight";
  const auto is_head = [&](const std::string& name) {
    return name == head || name == rules->language_spelling.stored(head);
  };
  const bool stored = std::any_of(names.begin(), names.end(), is_head);
  if (stored || config.flag("tie_word_embeddings", true))
    (*language)["tie_word_embeddings"] = !stored;
}

}  // namespace

std::string tower_of(const ComponentManifest& adapter, const std::string& module) {
  for (const auto& [tower, globs] : adapter.towers) {
    if (glob_match_any(globs, module)) return tower;
  }
  return "language";
}

absl::StatusOr<AdapterRules> adapter_rules(const Catalog& catalog, const Value& config,
                                           const std::vector<std::string>& names) {
  AdapterRules rules;
  SWAGE_ASSIGN_OR_RETURN(rules.adapter, catalog.find_model(config));
  rules.manifest = *rules.adapter.component;
  ComponentManifest& all = rules.manifest;
  rules.spelling = Spelling(all.spellings, names);
  for (auto* globs : {&all.linears, &all.routers, &all.kept, &all.ignored})
    spell(rules.spelling, globs);
  for (auto& [tower, globs] : all.towers) spell(rules.spelling, &globs);
  if (!all.blocks.empty()) all.blocks = rules.spelling.stored(all.blocks);
  if (all.language.empty()) return rules;

  rules.language_config = language_config(config, all);
  auto language = catalog.find_model(rules.language_config);
  if (!language.ok()) {
    return annotate(language.status(),
                    absl::StrCat("config.json: the language model, ", all.language));
  }
  rules.language = *language;
  rules.language_spelling = Spelling(all.language_spellings, names);
  settle_head(config, names, &rules);
  const ComponentManifest& own = *rules.language->component;
  add(own.linears, rules.language_spelling, &all.linears);
  add(own.routers, rules.language_spelling, &all.routers);
  add(own.kept, rules.language_spelling, &all.kept);
  add(own.ignored, rules.language_spelling, &all.ignored);
  if (!own.blocks.empty()) all.blocks = rules.language_spelling.stored(own.blocks);
  return rules;
}

}  // namespace swage
