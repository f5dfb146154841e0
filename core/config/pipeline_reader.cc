#include "core/config/pipeline_reader.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/suggest.h"
#include "core/config/foreign_names.h"
#include "core/config/keys.h"
#include "core/config/places.h"
#include "core/serve/engine_search.h"
#include "swage/status.h"

namespace swage {
namespace {

std::string text_or(const Value::Table& keys, const std::string& key, const std::string& fallback) {
  const auto it = keys.find(key);
  return it == keys.end() || it->second.text() == nullptr ? fallback : *it->second.text();
}

// Absent when the value was wrong; the run does not start then.
int64_t integer_or_zero(const Value::Table& keys, const std::string& key) {
  const int64_t* value = keys.at(key).integer();
  return value == nullptr ? 0 : *value;
}

std::string absolute_path(const std::string& path) { return resolve_path(path, SourceLocation{}); }

}  // namespace

PipelineReader::PipelineReader(const PipelineSource& source, const Catalog& catalog)
    : source_(source),
      document_(source.document),
      root_(source.document.root),
      catalog_(catalog),
      formats_(std::make_shared<Formats>(catalog)) {}

absl::StatusOr<Pipeline> PipelineReader::read() {
  pipeline_.file = source_.file;
  pipeline_.plugin_paths = source_.plugin_paths;
  check_sections();
  const Value::Table model = read_section("model");
  pipeline_.model_path = text_or(model, "path", "");
  pipeline_.adapter = text_or(model, "adapter", "");
  if (!pipeline_.adapter.empty()) {
    const auto found = catalog_.find("model", pipeline_.adapter);
    if (!found.ok())
      problems_.add(document_.place("model.adapter").key, std::string(found.status().message()));
  }
  pipeline_.start_decoded = text_or(model, "start", "") == "decoded";
  const auto towers = model.find("towers");
  if (towers != model.end()) pipeline_.towers = Params(model).texts("towers");
  read_section("plugins");
  read_calibration();
  read_run();
  read_steps();
  for (Entry& entry : read_entries("evaluate")) {
    pipeline_.evaluates.push_back({entry.use, entry.name, std::move(entry.params), entry.where});
  }
  read_exports();
  if (!root_.has("step") && !root_.has("evaluate") && !root_.has("export")) {
    problems_.add({source_.file},
                  "nothing to do: there is no [[step]], no [[evaluate]] and no [[export]]");
  }
  SWAGE_RETURN_IF_ERROR(problems_.status());
  check_places(pipeline_, document_, &problems_);
  SWAGE_RETURN_IF_ERROR(problems_.status());
  pipeline_.effective = effective_value(pipeline_);
  return std::move(pipeline_);
}

void PipelineReader::check_sections() {
  std::vector<std::string> known = {"include"};
  for (const Section& section : sections()) known.push_back(section.name);
  for (const auto& [key, value] : *root_.table()) {
    const SourceLocation& where = document_.place(key).key;
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      problems_.add(where, absl::StrCat("\"", key, "\" is no section of a pipeline file",
                                        foreign_key(key, known, suggestion(key, known))));
    } else if (section(key).is_list && value.list() == nullptr) {
      problems_.add(where,
                    absl::StrCat("\"", key, "\" is ", type_of(value), "; write [[", key, "]]"));
    } else if (!section(key).is_list && value.table() == nullptr) {
      problems_.add(where,
                    absl::StrCat("\"", key, "\" is ", type_of(value), "; write [", key, "]"));
    }
  }
}

Value::Table PipelineReader::read_section(const std::string& name) {
  return check_params(section(name).keys, root_[name], name, document_,
                      absl::StrCat("[", name, "]"), section(name).scheme_tables, &problems_);
}

void PipelineReader::read_calibration() {
  if (!root_.has("calibration")) return;
  const Value::Table keys = read_section("calibration");
  CalibrationSpec spec;
  spec.source = text_or(keys, "source", "");
  spec.recipe = text_or(keys, "recipe", "");
  spec.samples = integer_or_zero(keys, "samples");
  spec.length = integer_or_zero(keys, "length");
  spec.seed = integer_or_zero(keys, "seed");
  spec.expert_tokens = integer_or_zero(keys, "expert_tokens");
  const std::string experts = text_or(keys, "experts", "");
  if (experts == "all") {
    spec.experts_seen = -1;
  } else if (experts != "routed" &&
             (!absl::StartsWith(experts, "top-") ||
              !absl::SimpleAtoi(experts.substr(4), &spec.experts_seen) || spec.experts_seen < 1)) {
    problems_.add(document_.place("calibration.experts").value,
                  absl::StrCat("\"experts\" is \"", experts,
                               "\"; expected \"routed\", \"all\" or, for example, \"top-8\""));
  }
  spec.where = document_.place("calibration").key;
  std::error_code error;
  const bool folder = std::filesystem::is_directory(spec.source, error);
  if (folder || std::filesystem::file_size(spec.source, error) == 0) {
    problems_.add(
        document_.place("calibration.source").value,
        absl::StrCat("\"source\" is \"", spec.source, "\", which is ",
                     folder ? "a folder" : "empty", "; expected a file with text or token ids"),
        folder ? ExitCode::kPipeline : ExitCode::kInput);
  }
  pipeline_.calibration = std::move(spec);
}

void PipelineReader::read_run() {
  const Value::Table keys = read_section("run");
  RunSpec& run = pipeline_.run;
  const std::string stem = std::filesystem::path(source_.file).stem().string();
  const std::string work = text_or(keys, "work", absl::StrCat("runs/", stem));
  if (!work.empty()) run.work = absolute_path(work);
  run.device = text_or(keys, "device", "");
  run.compute = text_or(keys, "compute", "");
  run.threads = integer_or_zero(keys, "threads");
  run.micro_batch = integer_or_zero(keys, "micro_batch");
  run.verify_windows = integer_or_zero(keys, "verify_windows");
  run.seed = integer_or_zero(keys, "seed");
  if (const std::string* folder = keys.at("reference_cache").text())
    run.reference_cache = absolute_path(*folder);
  if (keys.at("device").text() != nullptr && run.device != "cpu") {
    const bool gpu = absl::StartsWith(run.device, "cuda");
    problems_.add(document_.place("run.device").value,
                  absl::StrCat("\"device\" is \"", run.device, "\"",
                               gpu ? ", but this version computes on the CPU alone" : "",
                               "; expected \"cpu\""));
  }
}

std::vector<PipelineReader::Entry> PipelineReader::read_entries(const std::string& name) {
  std::vector<Entry> entries;
  const Value::List* list = root_[name].list();
  std::vector<std::string> names;
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    std::optional<Entry> entry = read_entry(name, absl::StrCat(name, "[", i, "]"), (*list)[i]);
    if (!entry) continue;
    if (std::find(names.begin(), names.end(), entry->name) != names.end()) {
      problems_.add(entry->where, absl::StrCat("two entries of [[", name, "]] are called \"",
                                               entry->name, "\"; give this one another `name`"));
    }
    names.push_back(entry->name);
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::optional<PipelineReader::Entry> PipelineReader::read_entry(const std::string& name,
                                                                const std::string& path,
                                                                const Value& table) {
  Entry entry;
  entry.path = path;
  entry.table = &table;
  entry.where = document_.place(path).value;
  const std::string* use = table["use"].text();
  if (table.table() == nullptr || use == nullptr) {
    problems_.add(
        entry.where,
        table.table() == nullptr
            ? absl::StrCat("an entry of ", name, " is ", type_of(table), "; write [[", name, "]]")
            : absl::StrCat("[[", name, "]] lacks use = \"…\", the name of the component"));
    return std::nullopt;
  }
  const Section& declared = section(name);
  const auto found = catalog_.find(declared.kind, *use);
  if (!found.ok()) {
    const bool refused = exit_code(found.status()) == static_cast<int>(ExitCode::kPlugin);
    std::string foreign = refused ? "" : foreign_component(declared.kind, *use);
    if (!refused && declared.kind == "algorithm" && formats_->find(*use) != nullptr) {
      foreign = absl::StrCat(
          "; it is a number format: write use = \"rtn\", or another algorithm, "
          "with weight = { format = \"",
          *use, "\" }");
    }
    problems_.add(document_.place(join_path(path, "use")).value,
                  foreign.empty()
                      ? std::string(found.status().message())
                      : absl::StrCat("there is no ", declared.kind, " \"", *use, "\"", foreign),
                  refused ? ExitCode::kPlugin : ExitCode::kPipeline);
    return std::nullopt;
  }
  entry.use = *use;
  entry.name = table["name"].text() == nullptr ? *use : *table["name"].text();
  const std::string wrong = why_no_file_name(entry.name);
  if (!wrong.empty()) {
    problems_.add(document_.place(join_path(path, "name")).value,
                  absl::StrCat("\"name\" ", wrong, "; files of a run are called by it"));
    return std::nullopt;
  }
  entry.owner = absl::StrCat(name, " \"", entry.name, "\"");
  entry.component = found->component;

  std::vector<std::string> tables = declared.scheme_tables;
  if (name == "step") tables.push_back("override");
  std::vector<ParamManifest> params = declared.keys;
  params.insert(params.end(), entry.component->params.begin(), entry.component->params.end());
  entry.keys = check_params(params, table, path, document_, entry.owner, tables, &problems_);
  Value::Table own;
  for (const ParamManifest& param : entry.component->params)
    own[param.name] = entry.keys[param.name];
  entry.params = Params(std::move(own));
  return entry;
}

void PipelineReader::read_exports() {
  for (Entry& entry : read_entries("export")) {
    ExportSpec spec{entry.use, entry.name, "", std::move(entry.params), entry.where, {}};
    const std::string path = text_or(entry.keys, "path", "");
    if (!path.empty()) spec.path = absolute_path(path);
    spec.serve = read_serve(entry);
    pipeline_.exports.push_back(std::move(spec));
  }
}

std::optional<ServeSpec> PipelineReader::read_serve(const Entry& entry) {
  const auto place = [&](const char* key) -> const SourceLocation& {
    return document_.place(join_path(entry.path, key)).value;
  };
  const std::string name = text_or(entry.keys, "serve", "");
  const Value& devices = entry.keys.at("tensor_parallel");
  const std::string device = text_or(entry.keys, "device", "");
  if (entry.keys.at("serve").is_null()) {
    for (const char* key : {"tensor_parallel", "device"}) {
      if (!entry.keys.at(key).is_null())
        problems_.add(place(key), absl::StrCat("\"", key,
                                               "\" says how an engine serves the export; name the "
                                               "engine too: serve = \"…\" (swage help engines)"));
    }
    return std::nullopt;
  }
  ServeSpec spec;
  spec.where = place("serve");
  auto profile = find_engine(name, engine_search_path(catalog_), formats_.get());
  if (!profile.ok()) {
    problems_.add(spec.where, absl::StrCat("\"serve\": ", profile.status().message()));
    return std::nullopt;
  }
  spec.engine = std::make_shared<const EngineProfile>(*std::move(profile));
  if (devices.integer() != nullptr) spec.serving.tensor_parallel = *devices.integer();
  if (entry.keys.at("device").is_null()) return spec;
  auto parsed = parse_device(device);
  if (!parsed.ok())
    problems_.add(place("device"), absl::StrCat("\"device\": ", parsed.status().message()));
  else
    spec.serving.device = *std::move(parsed);
  return spec;
}

}  // namespace swage
