#include "core/config/pipeline.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/glob.h"
#include "core/config/keys.h"
#include "core/config/pipeline_reader.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<PipelineSource> read_pipeline(const std::string& file,
                                             const std::vector<std::string>& sets) {
  PipelineSource source;
  source.file = file;
  auto document = read_toml(file);
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
  LoadedPipeline loaded;
  loaded.catalog = Catalog::scan(plugin_search_path(plugin_path, source.plugin_paths));
  SWAGE_ASSIGN_OR_RETURN(loaded.pipeline, check_pipeline(source, loaded.catalog));
  loaded.catalog.choose_adapter(loaded.pipeline.adapter);
  return loaded;
}

absl::StatusOr<LinearScheme> resolve_scheme(const Step& step, const std::string& linear) {
  LinearScheme scheme;
  scheme.weight = step.weight;
  scheme.activation = step.activation;
  if (!step.match.empty() && !glob_match_any(step.match, linear)) {
    scheme.applies = false;
    return scheme;
  }
  for (const Override& override : step.overrides) {
    if (!glob_match(override.match, linear)) continue;
    scheme.keep = override.keep;
    auto weight = parse_weight_scheme(override.weight, scheme.weight);
    if (!weight.ok())
      return annotate(weight.status(), absl::StrCat(override.where.text(), ": for ", linear));
    scheme.weight = *weight;
    if (override.activation.is_null()) continue;
    auto activation = parse_activation_scheme(override.activation,
                                              scheme.activation.value_or(ActivationScheme{}));
    if (!activation.ok())
      return annotate(activation.status(), absl::StrCat(override.where.text(), ": for ", linear));
    scheme.activation = *activation;
  }
  return scheme;
}

LinearScheme scheme_for(const Step& step, const std::string& linear) {
  auto scheme = resolve_scheme(step, linear);
  SWAGE_CHECK(scheme.ok());
  return *std::move(scheme);
}

}  // namespace swage
