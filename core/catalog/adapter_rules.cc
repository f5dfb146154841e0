#include "core/catalog/adapter_rules.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/glob.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr const char* kUsualPrefix = "model.";
constexpr const char* kUsualHead = "lm_head";

void spell(const Spelling& spelling, std::vector<std::string>* globs) {
  for (std::string& glob : *globs) glob = spelling.stored_glob(glob);
}

void add(const std::vector<std::string>& globs, const Spelling& spelling,
         std::vector<std::string>* all) {
  for (const std::string& glob : globs) all->push_back(spelling.stored_glob(glob));
}

// Spellings are those of names that go on behind the path.
std::string stored_path(const Spelling& spelling, const std::string& path) {
  if (path.empty()) return path;
  const std::string stored = spelling.stored(path + ".");
  return stored.substr(0, stored.size() - 1);
}

// Of the language model: a table of config.json or, where there is none, the whole of it.
Value language_config(const Value& config, const ComponentManifest& adapter) {
  const bool whole = config[adapter.language].is_null();
  Value result = whole ? config : config[adapter.language];
  if (result.table() == nullptr) return result;
  if (!whole && result.has("model_type")) {
    // transformers also saves the whole model's architecture there.
    Value::List* const named = (*result.table())["architectures"].list();
    const auto outer = [&](const Value& item) {
      return item.text() != nullptr && std::count(adapter.architectures.begin(),
                                                  adapter.architectures.end(), *item.text()) > 0;
    };
    if (named != nullptr)
      named->erase(std::remove_if(named->begin(), named->end(), outer), named->end());
    return result;
  }
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
  // transformers gives such a head no bias, whatever the language model's own has: `lm_head_bias`
  // (kHeadBias of the SDK) tells the adapter.
  const std::string bias =
      rules->language_spelling.stored(rules->language->component->head + ".bias");
  (*language)["lm_head_bias"] = std::count(names.begin(), names.end(), bias) > 0;
  if (stored || config.flag("tie_word_embeddings", true))
    (*language)["tie_word_embeddings"] = !stored;
}

// Inside of another model transformers leaves out what a family writes before its names ("model."
// of most, which manifests speak of), or writes that of most, and calls every head `lm_head`.
Spellings inner_spellings(Spellings spellings, const ComponentManifest& language) {
  const std::string first = language.linears.empty() ? "" : language.linears.front();
  const std::string prefix = first.substr(0, first.find('.') + 1);
  const bool has_own = !prefix.empty() && prefix != kUsualPrefix && !absl::StrContains(prefix, '*');
  const Spellings usual = spellings;
  for (const auto& [known, stored] : usual) {
    if (!known.empty() && known != kUsualPrefix) continue;
    const std::string outside = known.empty() ? stored : "";  // it stands before everything
    if (has_own)
      spellings.emplace_back(prefix, known.empty() ? absl::StrCat(stored, kUsualPrefix) : stored);
    if (language.head != kUsualHead)
      spellings.emplace_back(language.head + ".", absl::StrCat(outside, kUsualHead, "."));
  }
  return spellings;
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
  SWAGE_ASSIGN_OR_RETURN(rules.adapter, catalog.find_adapter(config));
  rules.chosen = catalog.adapter_is_chosen();
  rules.manifest = *rules.adapter.component;
  ComponentManifest& all = rules.manifest;
  rules.spelling = Spelling(all.spellings, names);
  for (auto* globs : {&all.linears, &all.routers, &all.kept, &all.ignored})
    spell(rules.spelling, globs);
  for (auto& [tower, globs] : all.towers) spell(rules.spelling, &globs);
  all.blocks = stored_path(rules.spelling, all.blocks);
  if (all.language.empty()) return rules;

  rules.language_config = language_config(config, all);
  auto language = catalog.find_model(rules.language_config);
  if (!language.ok()) {
    return annotate(language.status(),
                    absl::StrCat("config.json: the language model, ", all.language));
  }
  rules.language = *language;
  const ComponentManifest& own = *rules.language->component;
  rules.language_spelling = Spelling(inner_spellings(all.language_spellings, own), names);
  settle_head(config, names, &rules);
  add(own.linears, rules.language_spelling, &all.linears);
  add(own.routers, rules.language_spelling, &all.routers);
  add(own.kept, rules.language_spelling, &all.kept);
  add(own.ignored, rules.language_spelling, &all.ignored);
  if (!own.blocks.empty()) all.blocks = stored_path(rules.language_spelling, own.blocks);
  return rules;
}

}  // namespace swage
