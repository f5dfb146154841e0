#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/suggest.h"
#include "core/catalog/catalog.h"
#include "core/catalog/data_files.h"
#include "core/cli/verbs.h"
#include "core/config/formats.h"
#include "core/config/keys.h"
#include "core/config/mix.h"
#include "core/config/param_check.h"
#include "core/serve/engine_search.h"
#include "swage/status.h"

namespace swage {
namespace {

const char kFirstRun[] =
    R"(swage compresses large language models: one sweep over the model, wired by one TOML file.

A first run:

  1. Write pipeline.toml:

       [model]
       path = "SmolLM2-135M"            # a Hugging Face checkpoint folder
       [calibration]
       source = "some-text.txt"
       [[step]]
       use = "gptq"
       weight = { bits = 4, group = 64 }
       [[evaluate]]
       use = "perplexity"
       source = "other-text.txt"
       [[export]]
       use = "compressed-tensors"
       path = "out/smollm2-w4"

  2. swage check pipeline.toml     says in milliseconds whether it holds
  3. swage run pipeline.toml       compresses, measures, writes and verifies out/smollm2-w4
  4. swage resume runs/pipeline    continues, should anything have stopped it

Verbs:
)";

std::string default_text(const ParamManifest& param) {
  if (!param.default_value.is_null())
    return absl::StrCat("default ", to_json(param.default_value, -1));
  return param.optional ? "optional" : "required";
}

void print_keys(const std::vector<ParamManifest>& keys) {
  for (const ParamManifest& key : keys) {
    absl::PrintF("  %s: %s; %s\n", key.name, describe_type(key), default_text(key));
    if (!key.help.empty()) absl::PrintF("      %s\n", key.help);
    for (const ParamManifest::Condition& condition : key.when)
      absl::PrintF("      Only with %s.\n", condition_text(condition));
    for (const auto& [value, conditions] : key.needs) {
      for (const ParamManifest::Condition& condition : conditions)
        absl::PrintF("      %s needs %s.\n", to_json(value, -1), condition_text(condition));
    }
    for (const Value& value : key.measured)
      absl::PrintF("      %s is measured: the file needs [calibration].\n", to_json(value, -1));
  }
}

std::string example_value(const ParamManifest& param) {
  if (!param.default_value.is_null()) return to_json(param.default_value, -1);
  if (param.type == "bool") return "true";
  if (param.type == "int" || param.type == "float") return absl::StrCat(param.minimum.value_or(1));
  if (param.type == "choice") return absl::StrCat("\"", param.choices.front(), "\"");
  return param.type == "strings" ? "[\"…\"]" : "\"…\"";
}

void print_example(const Section& section, const ComponentManifest& component) {
  constexpr size_t kLines = 6;  // an example, not a listing
  absl::PrintF("\nExample\n  [[%s]]\n  use = \"%s\"\n", section.name, component.name);
  const auto takes = [&](const char* table) {
    return std::find(component.schemes.begin(), component.schemes.end(), table) !=
           component.schemes.end();
  };
  if (takes("weight")) absl::PrintF("  weight = { bits = 4, group = 64 }\n");
  if (takes("activation")) absl::PrintF("  activation = { bits = 8 }\n");
  if (section.name == "export") absl::PrintF("  path = \"out/model\"\n");
  for (size_t i = 0; i < std::min(component.params.size(), kLines); ++i) {
    if (component.params[i].optional) continue;
    absl::PrintF("  %s = %s\n", component.params[i].name, example_value(component.params[i]));
  }
}

void print_list(const char* title, const std::vector<std::string>& words) {
  if (words.empty()) return;
  absl::PrintF("\n%s\n", title);
  for (const std::string& word : words) absl::PrintF("  %s\n", word);
}

void print_format(const ComponentManifest& format) {
  for (const std::string& table : format.tables) {
    absl::PrintF("\nKeys of %s = { format = \"%s\", … }\n", table, format.name);
    print_keys(keys_in(format.params, table));
  }
  absl::PrintF("\nAll formats, and how tables lie over one another: swage help scheme\n");
}

void print_component(const PluginEntry& plugin, const ComponentManifest& component) {
  absl::PrintF("%s: %s of %s %s\n%s\n", component.name, component.kind,
               plugin.file.empty() ? "swage itself," : "plugin " + plugin.manifest.id,
               plugin.manifest.version, component.summary);
  if (component.kind == "format") return print_format(component);
  if (!component.params.empty()) {
    absl::PrintF("\nParameters\n");
    print_keys(component.params);
  }
  print_list("Architectures", component.architectures);
  for (const Section& section : sections()) {
    if (section.kind != component.kind || !section.is_list) continue;
    print_example(section, component);
    absl::PrintF("\nThe other keys of [[%s]]: swage help pipeline\n", section.name);
  }
  if (component.calibration)
    absl::PrintF("It measures activations, so the file needs [calibration].\n");
}

void print_pipeline_keys() {
  for (const Section& section : sections()) {
    absl::PrintF(section.is_list ? "[[%s]]  %s\n" : "[%s]  %s\n", section.name, section.summary);
    print_keys(section.keys);
    for (const std::string& table : section.scheme_tables)
      absl::PrintF("  %s: a table, see below\n", table);
    if (section.name == "step") {
      absl::PrintF(
          "  override: a list of [[step.override]]\n\n[[step.override]]  Other schemes for some "
          "linears.\n");
      print_keys(override_keys());
      absl::PrintF("  weight, activation: tables, see below\n");
    }
    absl::PrintF("\n");
  }
  absl::PrintF(
      "weight, activation = { … }\n  Tables of a number format and its keys: swage help "
      "scheme\n\n");
  absl::PrintF("include = [\"other.toml\"]  Files merged under this one.\n");
}

void print_schemes(const Catalog& catalog) {
  absl::PrintF(
      "`weight` and `activation` in [scheme], a step or [[step.override]] say how numbers are "
      "stored:\n\n"
      "  weight = { format = \"int\", bits = 4, group = 64 }\n\n"
      "`format` is \"int\" unless said; the other keys are the format's own. A step's table lies "
      "over "
      "that of\n[scheme], an override's over the step's: it names only what differs, and starts "
      "afresh where it\nnames another format. A key that goes with one choice alone makes that "
      "choice: "
      "`group = 64` sets\ngranularity = \"group\".\n\nFormats (swage help NAME tells their "
      "keys):\n");
  const Formats formats(catalog);
  for (const Formats::Format* format : formats.in("")) {
    std::vector<std::string> tables;
    for (const auto& [table, keys] : format->keys) tables.push_back(table);
    std::reverse(tables.begin(), tables.end());  // weight first
    absl::PrintF("  %-12s %-20s %s\n", format->name, absl::StrJoin(tables, ", "), format->summary);
  }
}

// Every architecture, and the adapter that serves it.
void print_architectures(const Catalog& catalog) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Catalog::Found& model : catalog.components("model")) {
    for (const std::string& architecture : model.component->architectures)
      all.emplace_back(architecture, model.component->name);
  }
  std::sort(all.begin(), all.end());
  absl::PrintF("Architectures, as config.json names them, and the adapters that serve them:\n");
  for (const auto& [architecture, adapter] : all)
    absl::PrintF("  %-40s %s\n", architecture, adapter);
}

void print_engines(const Catalog& catalog) {
  const std::vector<std::string> folders = engine_search_path(catalog);
  const Formats formats(catalog);
  absl::PrintF(
      "`serve = \"NAME\"` in [[export]] names what will serve a checkpoint: what that engine would "
      "refuse or\nmisread is then an error before any work (swage help NAME tells its rules):\n\n");
  for (const std::string& name : engine_names(folders)) {
    const auto profile = find_engine(name, folders, &formats);
    absl::PrintF(
        "  %-18s %s\n", name,
        profile.ok() ? profile->summary : absl::StrCat("not usable: ", profile.status().message()));
  }
  absl::PrintF("\nProfiles are files NAME.engine.toml in %s\n", absl::StrJoin(folders, ", "));
}

void print_mixes(const Catalog& catalog) {
  const std::vector<std::string> folders = data_folders(catalog, "mix");
  const DataFiles files(folders, "mix");
  absl::PrintF(
      "`mix = \"NAME\"` in [[step]] gives weights several formats, chosen by the name of a linear "
      "and "
      "its layer:\n\n");
  for (const std::string& name : files.names()) {
    const auto file = files.read(name, "mix");
    const auto mix = file.ok() ? parse_mix(file->text, name, file->path) : file.status();
    absl::PrintF("  %-10s %s\n", name,
                 mix.ok() ? absl::StrCat(mix->summary, ": ", absl::StrJoin(mix->formats(), ", "))
                          : absl::StrCat("not usable: ", mix.status().message()));
  }
  absl::PrintF("\nMixes are files NAME.mix.toml in %s\n", absl::StrJoin(folders, ", "));
}

void print_overview(const Catalog& catalog) {
  absl::PrintF("%s", kFirstRun);
  for (const Verb& verb : verbs()) absl::PrintF("  %-10s %s\n", verb.name, verb.summary);
  absl::PrintF("\nComponents (swage help NAME):\n");
  for (const std::string& kind : component_kinds()) {
    for (const PluginEntry& plugin : catalog.plugins()) {
      for (const ComponentManifest& component : plugin.manifest.components) {
        if (component.kind == kind)
          absl::PrintF("  %-10s %-20s %s\n", kind, component.name, component.summary);
      }
    }
  }
  absl::PrintF(
      "\nEvery key of the file: swage help pipeline. Number formats: swage help scheme.\n"
      "Engines that exports are checked for: swage help engines.\n"
      "Options of a verb: swage VERB --help. "
      "Every model that is served: swage help architectures.\n");
}

}  // namespace

absl::Status help(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  const std::string& topic = arguments.target;
  if (topic.empty()) return print_overview(catalog), absl::OkStatus();
  if (topic == "pipeline") return print_pipeline_keys(), absl::OkStatus();
  if (topic == "scheme") return print_schemes(catalog), absl::OkStatus();
  if (topic == "architectures") return print_architectures(catalog), absl::OkStatus();
  if (topic == "engines") return print_engines(catalog), absl::OkStatus();
  if (topic == "mixes") return print_mixes(catalog), absl::OkStatus();
  if (const std::string text = verb_help(topic); !text.empty())
    return absl::PrintF("%s", text), absl::OkStatus();
  std::vector<std::string> known = {"pipeline", "scheme", "architectures", "engines", "mixes"};
  bool found = false;
  for (const Verb& verb : verbs()) known.push_back(verb.name);
  for (const PluginEntry& plugin : catalog.plugins()) {
    for (const ComponentManifest& component : plugin.manifest.components) {
      known.push_back(component.name);
      if (component.name != topic) continue;
      if (found) absl::PrintF("\n");
      print_component(plugin, component);
      found = true;
    }
  }
  const std::vector<std::string> folders = engine_search_path(catalog);
  for (const std::string& name : engine_names(folders)) {
    known.push_back(name);
    if (name != topic) continue;
    const Formats formats(catalog);
    SWAGE_ASSIGN_OR_RETURN(const EngineProfile profile, find_engine(name, folders, &formats));
    if (found) absl::PrintF("\n");
    absl::PrintF("%s", describe(profile));
    found = true;
  }
  if (found) return absl::OkStatus();
  return with_exit_code(absl::NotFoundError(absl::StrCat("there is no help on \"", topic, "\"",
                                                         suggestion(topic, known))),
                        ExitCode::kUsage);
}

}  // namespace swage
