#include "core/config/pipeline.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/glob.h"
#include "core/config/keys.h"
#include "core/config/pipeline_reader.h"
#include "swage/status.h"

namespace swage {

namespace {

absl::StatusOr<PipelineSource> source_of(absl::StatusOr<Document> document, const std::string& file,
                                         const std::vector<std::string>& sets) {
  PipelineSource source;
  source.file = file;
  if (!document.ok()) return with_exit_code(document.status(), ExitCode::kPipeline);
  source.document = *std::move(document);
  for (const std::string& set : sets) {
    SWAGE_RETURN_IF_ERROR(with_exit_code(apply_set(set, &source.document), ExitCode::kPipeline));
  }
  const Value& paths = source.document.root["plugins"]["path"];
  for (const Value& path : paths.list() != nullptr ? *paths.list() : Value::List{paths}) {
    if (path.text() == nullptr)
      continue;  // of another type: check_pipeline says so, with the place
    source.plugin_paths.push_back(
        resolve_path(*path.text(), source.document.place("plugins.path").value));
  }
  return source;
}

}  // namespace

absl::StatusOr<PipelineSource> read_pipeline(const std::string& file,
                                             const std::vector<std::string>& sets) {
  return source_of(read_toml(file), file, sets);
}

absl::StatusOr<PipelineSource> read_recipe(const std::string& text, const std::string& origin,
                                           const std::vector<std::string>& sets) {
  return source_of(parse_toml(text, origin), origin, sets);
}

absl::StatusOr<PipelineSource> read_evaluations(const std::string& file,
                                                const std::vector<std::string>& sets) {
  SWAGE_ASSIGN_OR_RETURN(PipelineSource source, read_pipeline(file, sets));
  if (!source.document.root.has("evaluate")) {
    return with_exit_code(absl::InvalidArgumentError(
                              absl::StrCat(file, ": there is no [[evaluate]] to measure with")),
                          ExitCode::kPipeline);
  }
  for (const char* section : {"step", "export", "calibration", "scheme"})
    source.document.root.table()->erase(section);
  return source;
}

absl::StatusOr<Pipeline> check_pipeline(const PipelineSource& source, const Catalog& catalog) {
  return PipelineReader(source, catalog).read();
}

absl::StatusOr<Pipeline> load_pipeline(const std::string& file,
                                       const std::vector<std::string>& sets,
                                       const Catalog& catalog) {
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source, read_pipeline(file, sets));
  return check_pipeline(source, catalog);
}

absl::StatusOr<LoadedPipeline> open_pipeline(const std::string& file,
                                             const std::vector<std::string>& sets,
                                             const std::vector<std::string>& plugin_path) {
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source, read_pipeline(file, sets));
  return open_source(source, plugin_path);
}

absl::StatusOr<LoadedPipeline> open_source(const PipelineSource& source,
                                           const std::vector<std::string>& plugin_path) {
  LoadedPipeline loaded;
  loaded.catalog = Catalog::scan(plugin_search_path(plugin_path, source.plugin_paths));
  SWAGE_ASSIGN_OR_RETURN(loaded.pipeline, check_pipeline(source, loaded.catalog));
  loaded.catalog.choose_adapter(loaded.pipeline.adapter);
  return loaded;
}

bool takes(const Step& step, const std::string& linear) {
  const bool is_end = linear == step.embedding || linear == step.head;
  if (!is_end) return step.match.empty() || glob_match_any(step.match, linear);
  // "*" and "model.*" mean blocks: an end is taken by what says something of its own name.
  const size_t last = linear.rfind('.') + 1;  // 0 where there is no dot
  const std::string any = linear.substr(0, last) + std::string(linear.size() - last, '\1');
  return std::any_of(step.match.begin(), step.match.end(), [&](const std::string& glob) {
    return glob_match(glob, linear) && !glob_match(glob, any);
  });
}

absl::StatusOr<LinearScheme> resolve_scheme(const Step& step, const std::string& linear) {
  LinearScheme scheme;
  const auto mixed = step.mixed.find(linear);
  scheme.weight = mixed != step.mixed.end() ? mixed->second : step.weight;
  scheme.activation = step.activation;
  scheme.applies = takes(step, linear);
  if (!scheme.applies) return scheme;
  for (const Override& override : step.overrides) {
    if (!glob_match(override.match, linear)) continue;
    scheme.keep = override.keep;
    std::vector<SchemeProblem> problems;
    if (!override.weight.is_null())
      scheme.weight =
          read_scheme(*step.formats, "weight", override.weight, scheme.weight, &problems);
    if (!override.activation.is_null()) {
      scheme.activation = read_scheme(*step.formats, "activation", override.activation,
                                      scheme.activation.value_or(Scheme{}), &problems);
    }
    if (problems.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(override.where.text(), ": for ", linear, ": ", problems.front().text));
  }
  if (linear == step.embedding) scheme.activation.reset();  // it reads ids
  return scheme;
}

LinearScheme scheme_for(const Step& step, const std::string& linear) {
  auto scheme = resolve_scheme(step, linear);
  SWAGE_CHECK(scheme.ok());
  return *std::move(scheme);
}

bool works_on(const Step& step, const std::string& linear) {
  const LinearScheme scheme = scheme_for(step, linear);
  return scheme.applies && !scheme.keep;
}

std::vector<Scheme> possible_schemes(const Step& step, const std::string& table) {
  const bool weight = table == "weight";
  if (weight && !step.takes_weight) return {};
  // An override starts from whatever those before it have made; beyond so many it is the step's.
  constexpr size_t kMost = 64;
  const Scheme base = weight ? step.weight : step.activation.value_or(Scheme{});
  std::vector<Scheme> found = {base};
  if (weight) {
    for (const auto& [format, scheme] : step.mix_schemes)
      if (format != base.format) found.push_back(scheme);
  }
  for (const Override& override : step.overrides) {
    const Value& given = weight ? override.weight : override.activation;
    if (given.is_null()) continue;
    const size_t count = found.size() < kMost ? found.size() : 1;
    for (size_t i = 0; i < count; ++i) {
      std::vector<SchemeProblem> problems;
      Scheme made = read_scheme(*step.formats, table, given, found[i], &problems);
      if (problems.empty() && std::find(found.begin(), found.end(), made) == found.end())
        found.push_back(std::move(made));
    }
  }
  if (!weight && !step.activation) found.erase(found.begin());
  return found;
}

bool schemes_measure(const Step& step) {
  for (const char* table : {"weight", "activation"}) {
    for (const Scheme& scheme : possible_schemes(step, table)) {
      if (measures(*step.formats, table, scheme)) return true;
    }
  }
  return false;
}

}  // namespace swage
