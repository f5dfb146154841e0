// The part of PipelineReader that reads [scheme] and [[step]].
#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/glob.h"
#include "core/base/suggest.h"
#include "core/catalog/data_files.h"
#include "core/config/foreign_names.h"
#include "core/config/keys.h"
#include "core/config/pipeline_reader.h"

namespace swage {
namespace {

bool lists(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Scheme PipelineReader::scheme_at(const Value& table, const std::string& path,
                                 const std::string& kind, const Scheme& base) {
  std::vector<SchemeProblem> problems;
  Scheme scheme = read_scheme(*formats_, kind, table[kind], base, &problems);
  for (const SchemeProblem& problem : problems) {
    const std::string at = join_path(path, kind);
    problems_.add(document_.place(problem.key.empty() ? at : join_path(at, problem.key)).key,
                  problem.text, problem.code);
  }
  return scheme;
}

std::string PipelineReader::glob_at(const std::string& glob, const std::string& path) {
  const absl::Status status = check_glob(glob);
  if (!status.ok())
    problems_.add(document_.place(path).value, absl::StrCat("\"match\" is ", status.message()));
  return status.ok() ? glob : "";
}

bool PipelineReader::takes_scheme(const Entry& entry, const std::string& table,
                                  const std::string& path) {
  if (lists(entry.component->schemes, table)) return true;
  problems_.add(document_.place(join_path(path, table)).key,
                absl::StrCat("\"", table, "\" does not belong to ", entry.owner, ": \"", entry.use,
                             "\" chooses no ", table,
                             " format; put it on the step that does, or under [scheme]"));
  return false;
}

void PipelineReader::read_steps() {
  read_section("scheme");
  // Once, whether steps take them or not.
  const Value& defaults = root_["scheme"];
  default_weight_ = scheme_at(defaults, "scheme", "weight", {});
  if (defaults.has("activation"))
    default_activation_ = scheme_at(defaults, "scheme", "activation", {});
  for (const Entry& entry : read_entries("step")) pipeline_.steps.push_back(read_step(entry));
}

Step PipelineReader::read_step(const Entry& entry) {
  Step step;
  step.use = entry.use;
  step.name = entry.name;
  step.params = entry.params;
  step.formats = formats_;
  step.where = entry.where;
  if (const Value::List* globs = entry.keys.at("match").list()) {
    for (const Value& glob : *globs)
      step.match.push_back(glob_at(*glob.text(), entry.path + ".match"));
    if (globs->empty())
      problems_.add(document_.place(entry.path + ".match").value,
                    "\"match\" is empty; leave it out to take every linear");
  }
  read_step_schemes(entry, &step);
  read_overrides(entry, &step);
  const bool measures = entry.component->calibration || schemes_measure(step);
  if (const std::string* stream = entry.keys.at("calibrate_on").text()) {
    step.calibrate_on = *stream;
    if (!measures) {
      problems_.add(document_.place(entry.path + ".calibrate_on").key,
                    absl::StrCat("\"calibrate_on\" does not belong to ", entry.owner, ": \"",
                                 entry.use, "\" measures no activations"));
    }
  }
  if (measures && !root_.has("calibration")) {
    problems_.add(
        entry.where,
        absl::StrCat(entry.owner,
                     " measures activations, but there is no [calibration] with source = \"…\""));
  }
  return step;
}

void PipelineReader::read_step_schemes(const Entry& entry, Step* step) {
  const Value& own = *entry.table;
  step->takes_weight = lists(entry.component->schemes, "weight");
  if (!entry.keys.at("mix").is_null()) {
    read_mix(entry, step);
  } else if (step->takes_weight) {
    step->weight = scheme_at(own, entry.path, "weight", default_weight_);
  } else if (own.has("weight")) {
    takes_scheme(entry, "weight", entry.path);
  }
  if (lists(entry.component->schemes, "activation")) step->activation = default_activation_;
  if (own.has("activation") && takes_scheme(entry, "activation", entry.path)) {
    step->activation =
        scheme_at(own, entry.path, "activation", step->activation.value_or(Scheme{}));
  }
}

// The step's `weight` gives keys for the formats of the mix that have them.
void PipelineReader::read_mix(const Entry& entry, Step* step) {
  const SourceLocation where = document_.place(entry.path + ".mix").value;
  if (!takes_scheme(entry, "weight", entry.path)) return;
  const std::string& name = *entry.keys.at("mix").text();
  const auto file = DataFiles(data_folders(catalog_, "mix"), "mix").read(name, "mix");
  auto mix = file.ok() ? parse_mix(file->text, name, file->path) : file.status();
  if (!mix.ok()) return problems_.add(where, absl::StrCat("\"mix\": ", mix.status().message()));
  const Value& own = (*entry.table)["weight"];
  if (own.has("format"))
    problems_.add(document_.place(entry.path + ".weight.format").key,
                  absl::StrCat("\"format\" does not go with mix = \"", name,
                               "\", which names formats itself"));
  std::set<std::string> used;
  for (const std::string& format : mix->formats()) {
    Value::Table keys = {{"format", format}};
    const Formats::Format* const known = formats_->find(format);
    if (own.table() != nullptr && known != nullptr && known->keys.count("weight") > 0) {
      for (const ParamManifest& key : known->keys.at("weight"))
        if (own.has(key.name)) keys[key.name] = own[key.name], used.insert(key.name);
    }
    std::vector<SchemeProblem> wrong;
    step->mix_schemes[format] =
        read_scheme(*formats_, "weight", Value(std::move(keys)), Scheme{}, &wrong);
    for (const SchemeProblem& problem : wrong)
      problems_.add(where, absl::StrCat(mix->file, ": ", problem.text), problem.code);
  }
  if (own.table() != nullptr) {
    for (const auto& [key, value] : *own.table())
      if (key != "format" && used.count(key) == 0)
        problems_.add(
            document_.place(join_path(entry.path + ".weight", key)).key,
            absl::StrCat("\"", key, "\" is no key of any format of mix = \"", name, "\""));
  }
  step->weight = step->mix_schemes[mix->format];
  step->mix = std::make_shared<const Mix>(*std::move(mix));
}

void PipelineReader::read_overrides(const Entry& entry, Step* step) {
  const Value& given = (*entry.table)["override"];
  if (given.is_null()) return;
  const std::string path = entry.path + ".override";
  if (given.list() == nullptr) {
    problems_.add(document_.place(path).key,
                  absl::StrCat("\"override\" is ", type_of(given), "; write [[step.override]]"));
    return;
  }
  for (size_t i = 0; i < given.list()->size(); ++i) {
    const std::string item_path = absl::StrCat(path, "[", i, "]");
    const Value& table = (*given.list())[i];
    if (table.table() == nullptr) {
      problems_.add(document_.place(item_path).value,
                    absl::StrCat("an override is ", type_of(table), "; write [[step.override]]"));
      continue;
    }
    step->overrides.push_back(read_override(table, item_path, entry, *step));
  }
}

Override PipelineReader::read_override(const Value& table, const std::string& path,
                                       const Entry& entry, const Step& step) {
  const std::string owner = absl::StrCat("an override of ", entry.owner);
  const Value::Table keys = check_params(override_keys(), table, path, document_, owner,
                                         {"weight", "activation"}, &problems_);
  Override result;
  result.where = document_.place(path).value;
  if (const std::string* match = keys.at("match").text())
    result.match = glob_at(*match, path + ".match");
  if (const bool* keep = keys.at("keep").boolean()) result.keep = *keep;
  const auto take = [&](const char* name, const Scheme& base, Value* given) {
    if (!table.has(name) || !takes_scheme(entry, name, path)) return;
    *given = table[name];
    // Over the step's scheme, as most are, or over what an earlier override makes of it.
    const auto holds = [&](const Scheme& earlier) {
      std::vector<SchemeProblem> problems;
      read_scheme(*step.formats, name, *given, earlier, &problems);
      return problems.empty();
    };
    if (holds(base)) return;
    const std::vector<Scheme> possible = possible_schemes(step, name);
    if (std::none_of(possible.begin(), possible.end(), holds)) scheme_at(table, path, name, base);
  };
  take("weight", step.weight, &result.weight);
  take("activation", step.activation.value_or(Scheme{}), &result.activation);
  const bool changes = table.has("weight") || table.has("activation");
  if (result.keep && changes) {
    problems_.add(result.where,
                  absl::StrCat(owner, " says keep = true and gives a scheme; one of them must go"));
  } else if (!result.keep && !changes) {
    problems_.add(
        result.where,
        absl::StrCat(owner, " changes nothing; expected `weight`, `activation` or keep = true"));
  }
  return result;
}

}  // namespace swage
