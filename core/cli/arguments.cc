#include "core/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/exit_codes.h"
#include "core/base/suggest.h"
#include "swage/status.h"

namespace swage {
namespace {

const char kVersion[] = "swage " SWAGE_VERSION;

// The options of every verb, bound to one set of arguments.
class CommandLine {
 public:
  explicit CommandLine(Arguments* arguments) : arguments_(*arguments) {
    app_.name("swage");
    app_.set_version_flag("--version", kVersion);
    app_.require_subcommand(0, 1);
    app_.fallthrough();
    app_.add_option("--plugin-path", arguments_.plugin_path,
                    "Look for plugins in DIR first (may be repeated)")
        ->type_name("DIR")
        ->allow_extra_args(false);
    add_pipeline_verbs();
    add_work_verbs();
    add_model_verbs();
    add_reading_verbs();
  }

  CLI::App& app() { return app_; }
  const std::string& work() const { return work_; }

 private:
  CLI::App& verb(const std::string& name) {
    const auto it = std::find_if(verbs().begin(), verbs().end(),
                                 [&](const Verb& verb) { return verb.name == name; });
    SWAGE_CHECK(it != verbs().end());
    return *app_.add_subcommand(name, it->summary);
  }

  void target(CLI::App& verb, const char* name, const char* help) {
    verb.add_option(name, arguments_.target, help)->required()->type_name("");
  }

  void threads(CLI::App& verb) {
    verb.add_option("--threads", arguments_.threads,
                    "Threads to use; 0: all cores. Results do not depend on it.")
        ->type_name("N")
        ->check(CLI::Range(0, 4096));
  }

  void events(CLI::App& verb) {
    verb.add_option("--events", arguments_.events, "Write events to this file as JSON Lines")
        ->type_name("FILE");
    verb.add_flag("--quiet", arguments_.quiet, "Print warnings and errors only");
  }

  void sets(CLI::App& verb) {
    verb.add_option("--set", arguments_.sets,
                    "Override a value of the file: step.gptq.weight.bits=3 (may be repeated)")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
  }

  void micro_batch(CLI::App& verb) {
    verb.add_option("--micro-batch", arguments_.micro_batch,
                    "Sequences a pass takes at once; 0: chosen. Results do not depend on it.")
        ->type_name("N")
        ->check(CLI::Range(0, 1 << 20));
  }

  void add_pipeline_verbs() {
    CLI::App& run = verb("run");
    target(run, "FILE", "Pipeline file");
    sets(run);
    run.add_option("--work", work_, "Work directory, instead of [run] work")->type_name("DIR");
    threads(run);
    micro_batch(run);
    events(run);
    CLI::App& check = verb("check");
    target(check, "FILE", "Pipeline file");
    sets(check);
    CLI::App& eval = verb("eval");
    target(eval, "CHECKPOINT", "Checkpoint folder to measure");
    eval.add_option("FILE", arguments_.pipeline, "Pipeline file; its [[evaluate]] entries are used")
        ->required()
        ->type_name("");
    sets(eval);
    eval.add_option("--work", work_, "Work directory, instead of [run] work")->type_name("DIR");
    threads(eval);
    micro_batch(eval);
    events(eval);
  }

  void add_work_verbs() {
    CLI::App& resume = verb("resume");
    target(resume, "WORKDIR", "Work directory of the run to continue");
    threads(resume);
    micro_batch(resume);
    resume.add_flag("--accept-plugin-change", arguments_.accept_plugin_change,
                    "Go on with plugins that were built again; result.json notes it");
    events(resume);
    CLI::App& verify = verb("verify");
    target(verify, "WORKDIR", "Work directory of a finished run");
    threads(verify);
  }

  void add_model_verbs() {
    target(verb("inspect"), "MODEL", "Checkpoint folder or GGUF file");
    CLI::App& forward = verb("forward");
    target(forward, "MODEL", "Checkpoint folder or GGUF file");
    forward.add_option("--input", arguments_.input, "safetensors with input_ids")
        ->required()
        ->type_name("FILE");
    forward
        .add_option("--output", arguments_.output,
                    "safetensors to write: hidden_0 … hidden_L, logits")
        ->required()
        ->type_name("FILE");
    forward
        .add_option("--compare", arguments_.compare,
                    "safetensors to compare with; prints the differences")
        ->type_name("FILE");
    threads(forward);
    micro_batch(forward);
  }

  void add_reading_verbs() {
    verb("plugins").add_flag("--json", arguments_.json, "Print JSON");
    verb("help")
        .add_option("TOPIC", arguments_.target, "A component, a verb, or \"pipeline\"")
        ->type_name("");
    verb("schema");
  }

  Arguments& arguments_;
  std::string work_;
  CLI::App app_{"Compresses large language models."};
};

absl::Status usage(const std::string& text) {
  return with_exit_code(absl::InvalidArgumentError(text), ExitCode::kUsage);
}

std::string toml_string(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

void add_option_sets(const std::string& work, Arguments* arguments) {
  const auto add = [&](const char* key, const std::string& value) {
    arguments->sets.push_back(absl::StrCat(key, "=", value));
  };
  if (arguments->verb == "run" || arguments->verb == "check")
    arguments->pipeline = arguments->target;
  if (arguments->pipeline.empty()) return;
  if (arguments->verb == "eval") add("model.path", toml_string(arguments->target));
  if (!work.empty()) add("run.work", toml_string(work));
  if (arguments->threads) add("run.threads", absl::StrCat(*arguments->threads));
  if (arguments->micro_batch) add("run.micro_batch", absl::StrCat(*arguments->micro_batch));
}

// CLI11 takes an unknown verb for a stray argument; the first word that is no option is looked at
// before.
absl::Status check_verb(int argc, const char* const* argv) {
  std::vector<std::string> known;
  for (const Verb& verb : verbs()) known.push_back(verb.name);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--plugin-path") ++i;
    if (word.empty() || word[0] == '-') continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) return absl::OkStatus();
    return usage(absl::StrCat("\"", word, "\" is no verb of swage", suggestion(word, known)));
  }
  return absl::OkStatus();
}

// CLI11 lists stray arguments in no order a user would recognise; one with its nearest option says
// more.
absl::Status stray_argument(const CLI::App& app) {
  const std::vector<std::string> stray = app.remaining(true);
  std::string word;
  for (const std::string& candidate : stray) {
    if (word.empty() || candidate[0] == '-') word = candidate.substr(0, candidate.find('='));
  }
  std::vector<std::string> known = {"--plugin-path"};
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App& verb = chosen.empty() ? app : *chosen.front();
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string near = word[0] == '-' ? nearest(word, known) : "";
  return usage(absl::StrCat("\"", word, "\" is not expected here",
                            near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?")));
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const auto* const all = new std::vector<Verb>{
      {"run", "Run a pipeline file: compress, measure, export, verify", true},
      {"resume", "Continue an interrupted run where it stopped", true},
      {"check", "Check a pipeline file against its plugins and its model, without computing",
       false},
      {"eval", "Measure a checkpoint with the evaluations of a pipeline file", true},
      {"verify", "Decode the exports of a finished run again and compare them with the run", true},
      {"forward", "Run token ids through a model and write hidden states and logits", true},
      {"inspect", "Show what a model is made of", true},
      {"plugins", "List plugins and components, and why a file is not usable", false},
      {"help", "Explain a component, a verb or the pipeline file", false},
      {"schema", "Print the JSON Schema of pipeline files, for editors", false}};
  return *all;
}

std::string verb_help(const std::string& verb) {
  Arguments arguments;
  CommandLine line(&arguments);
  for (const CLI::App* app :
       line.app().get_subcommands([&](const CLI::App* app) { return app->get_name() == verb; })) {
    return app->help("swage");
  }
  return "";
}

absl::StatusOr<Arguments> parse_arguments(int argc, const char* const* argv) {
  SWAGE_RETURN_IF_ERROR(check_verb(argc, argv));
  Arguments arguments;
  CommandLine line(&arguments);
  CLI::App& app = line.app();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion&) {
    arguments.text = absl::StrCat(kVersion, "\n");
    return arguments;
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    if (chosen.empty())
      arguments.verb = "help";
    else
      arguments.text = verb_help(chosen.front()->get_name());
    return arguments;
  } catch (const CLI::ExtrasError&) {
    return stray_argument(app);
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  }
  const auto chosen = app.get_subcommands();
  arguments.verb = chosen.empty() ? "help" : chosen.front()->get_name();
  add_option_sets(line.work(), &arguments);
  return arguments;
}

}  // namespace swage
