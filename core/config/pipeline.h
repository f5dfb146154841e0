#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "core/config/formats.h"
#include "core/config/mix.h"
#include "core/config/toml_reader.h"
#include "core/serve/served.h"
#include "swage/params.h"
#include "swage/scheme.h"

namespace swage {

struct CalibrationSpec {
  std::string source;  // path of a text, .jsonl or .json (token ids) file, already resolved
  std::string recipe = "even";  // how windows are drawn; see docs/pipeline.md
  int64_t samples = 128;
  int64_t length = 2048;
  int64_t seed = 0;
  // Experts that see a token while statistics are taken: 0 those it is routed to, n its n best, -1
  // all.
  int64_t experts_seen = 0;
  int64_t expert_tokens = 32;  // an expert with fewer falls back, see docs/pipeline.md
  SourceLocation where;
};

// The linears that match `match` (glob over module paths) get these values instead of the step's.
struct Override {
  std::string match;
  Value weight;  // partial tables, applied over the step's scheme; null where absent
  Value activation;
  bool keep = false;  // leave the linear in floats
  SourceLocation where;
};

struct Step {
  std::string use, name;
  std::vector<std::string> match;  // globs; empty = every linear of a block
  std::string embedding, head;     // modules of the model's ends, taken where `match` fits them
  std::string calibrate_on;  // "", "original" or "compressed": replaces the plugin's own choice
  Scheme weight;
  std::optional<Scheme> activation;
  bool takes_weight = false;  // the component chooses a weight format at all
  // Several formats: their schemes by name, and what each linear gets, once the model is known.
  std::shared_ptr<const Mix> mix;
  std::map<std::string, Scheme> mix_schemes, mixed;
  std::vector<Override> overrides;
  std::shared_ptr<const Formats> formats;  // what overrides are read by
  Params params;
  SourceLocation where;
};

struct EvaluateSpec {
  std::string use, name;
  Params params;
  SourceLocation where;
};

// Who will serve an export.
struct ServeSpec {
  std::shared_ptr<const EngineProfile> engine;
  Serving serving;
  SourceLocation where;
};

struct ExportSpec {
  std::string use, name, path;
  Params params;
  SourceLocation where;
  std::optional<ServeSpec> serve;  // none: nothing is asked of it but what its format holds
};

struct RunSpec {
  std::string work;                 // work directory, resolved
  std::string device = "cpu";       // "cpu", "cuda", "cuda:1"
  std::string compute = "float32";  // "float32", "bfloat16", "float64"
  int64_t threads = 0;              // 0 = all cores
  int64_t micro_batch = 0;          // sequences a pass takes at once; 0 = chosen from their length
  int64_t verify_windows = 1;       // windows run again through what each export decodes to
  std::string reference_cache;      // folder, resolved; "" = none
  int64_t seed = 0;
};

// A checked pipeline file: components exist, parameters are typed, defaulted and within bounds,
// paths are resolved against the file's folder (work and export paths against the current one).
struct Pipeline {
  std::string file;
  std::string model_path;
  std::string adapter;  // of the model, whatever config.json says; "": config.json decides
  std::vector<std::string> towers = {"language"};  // whose linears steps compress
  bool start_decoded = false;  // a compressed model is taken for what it decodes to
  std::optional<CalibrationSpec> calibration;
  std::vector<Step> steps;
  std::vector<EvaluateSpec> evaluates;
  std::vector<ExportSpec> exports;
  RunSpec run;
  std::vector<std::string> plugin_paths;
  // The whole configuration with every default filled in: what a run records and resume compares.
  // Threads and micro-batch are left out, since no result depends on them.
  Value effective;
};

// A pipeline file with its includes and --set values, before components are looked up: it says
// where plugins are.
struct PipelineSource {
  std::string file;
  Document document;
  std::vector<std::string> plugin_paths;  // [plugins] path, absolute
};
absl::StatusOr<PipelineSource> read_pipeline(const std::string& file,
                                             const std::vector<std::string>& sets);
// A file that is at hand as text; `origin` stands for its name.
absl::StatusOr<PipelineSource> read_recipe(const std::string& text, const std::string& origin,
                                           const std::vector<std::string>& sets);
// The same for `swage eval`: of the file nothing but the evaluations counts.
absl::StatusOr<PipelineSource> read_evaluations(const std::string& file,
                                                const std::vector<std::string>& sets);

// Checks everything that needs no model; the error lists every problem with file:line:column.
absl::StatusOr<Pipeline> check_pipeline(const PipelineSource& source, const Catalog& catalog);

// Both in one, when the catalog is known already.
absl::StatusOr<Pipeline> load_pipeline(const std::string& file,
                                       const std::vector<std::string>& sets,
                                       const Catalog& catalog);

// The whole way: read, scan the plugins of the command line, the file and the usual places, check.
struct LoadedPipeline {
  Pipeline pipeline;
  Catalog catalog;
};
absl::StatusOr<LoadedPipeline> open_source(const PipelineSource& source,
                                           const std::vector<std::string>& plugin_path);
absl::StatusOr<LoadedPipeline> open_pipeline(const std::string& file,
                                             const std::vector<std::string>& sets,
                                             const std::vector<std::string>& plugin_path);

// What differs between two effective configurations, one line each: "step[0].weight.bits: 4, now
// 3".
std::vector<std::string> differences(const Value& before, const Value& now);

// Scheme of one linear under a step, overrides applied in file order.
struct LinearScheme {
  bool applies = true;  // false: no `match` of the step fits, or it is an end and there is none
  bool keep = false;    // an override says `keep = true`
  Scheme weight;
  std::optional<Scheme> activation;
};
// Is it one of the step's linears? Ends are by a `match` that fits them alone.
bool takes(const Step& step, const std::string& linear);
// The error names two overrides that do not go together for this linear; check_steps()
// (model_check.h) has seen every linear.
absl::StatusOr<LinearScheme> resolve_scheme(const Step& step, const std::string& linear);
// The same for a pipeline that passed check_steps().
LinearScheme scheme_for(const Step& step, const std::string& linear);

// Does the step take this linear, and no override keep it?
bool works_on(const Step& step, const std::string& linear);

// Schemes that linears of the step can have in a table ("weight", "activation"): the step's own and
// what overrides make of it and of each other.
std::vector<Scheme> possible_schemes(const Step& step, const std::string& table);

// Does any scheme of the step take statistics of inputs: ranges that are weighted by them, static
// activations? Then it needs [calibration], whatever its algorithm measures.
bool schemes_measure(const Step& step);

}  // namespace swage
