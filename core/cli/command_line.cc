#include "core/cli/command_line.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/cli/description.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kMostThreads = 4096, kMostSequences = 1 << 20, kMostDevices = 1024;

// Texts of our own: what CLI11 says names types of C++.
std::function<std::string(const std::string&)> whole_number(int64_t most) {
  return [most](const std::string& text) -> std::string {
    int64_t number = 0;
    if (absl::SimpleAtoi(text, &number) && number >= 0 && number <= most) return "";
    return absl::StrCat("\"", text, "\" is given; expected a whole number, 0 to ", most);
  };
}

std::string check_tolerance(const std::string& text) {
  double number = 0;
  if (absl::SimpleAtod(text, &number) && std::isfinite(number) && number >= 0) return "";
  return absl::StrCat("\"", text, "\" is given; expected a number, 0 or more, such as 1e-4");
}

std::string check_shell(const std::string& text) {
  const std::vector<std::string>& known = shells();
  if (std::find(known.begin(), known.end(), text) != known.end()) return "";
  return absl::StrCat("\"", text, "\" is given; expected bash, zsh or fish");
}

void flag(CLI::App& verb, const char* name, bool* value, const char* help) {
  verb.add_flag(name, *value, help)->disable_flag_override();
}

void file(CLI::App& verb, const char* name, std::string* value, const char* help,
          bool required = false) {
  verb.add_option(name, *value, help)->type_name("FILE")->required(required);
}

}  // namespace

const char* command_version() { return "swage " SWAGE_VERSION; }

const std::vector<Verb>& verbs() {
  static const auto* const all = new std::vector<Verb>{
      {"run", "Run a pipeline file: compress, measure, export, verify", true},
      {"resume", "Continue an interrupted run where it stopped", true},
      {"check", "Check a pipeline file against its plugins and its model, without computing",
       false},
      {"eval", "Measure a checkpoint with the evaluations of a pipeline file", true},
      {"verify", "Check anybody's checkpoint, or the exports of a finished run against that run",
       true},
      {"convert", "Write a checkpoint in another format, exactly or not at all", true},
      {"forward", "Run token ids through a model and write hidden states and logits", true},
      {"inspect", "Show what a model is made of", true},
      {"plugins", "List plugins and components, and why a file is not usable", false},
      {"help", "Explain a component, a verb or the pipeline file", false},
      {"schema", "Print the JSON Schema of pipeline files, for editors", false},
      {"completion", "Print what makes a shell complete this command", false},
      {"man", "Print the manual page: swage man | man -l -", false}};
  return *all;
}

const std::vector<std::string>& shells() {
  static const auto* const all = new std::vector<std::string>{"bash", "zsh", "fish"};
  return *all;
}

CommandLine::CommandLine(Arguments* arguments) : arguments_(*arguments) {
  app_.name("swage");
  app_.set_version_flag("--version", command_version(), "Print the version and end");
  app_.set_help_flag("--help,-h", "Print this help and end");
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

CLI::App& CommandLine::verb(const std::string& name) {
  const auto it = std::find_if(verbs().begin(), verbs().end(),
                               [&](const Verb& verb) { return verb.name == name; });
  SWAGE_CHECK(it != verbs().end());
  return *app_.add_subcommand(name, it->summary);
}

void CommandLine::target(CLI::App& verb, const char* name, const char* help) {
  verb.add_option(name, arguments_.target, help)->required()->type_name("");
}

void CommandLine::number(CLI::App& verb, const char* name, std::optional<int64_t>* value,
                         int64_t most, const char* help) {
  verb.add_option(name, *value, help)->type_name("N")->check(whole_number(most));
}

void CommandLine::threads(CLI::App& verb) {
  number(verb, "--threads", &arguments_.threads, kMostThreads,
         "Threads to use; 0: all cores. Results do not depend on it.");
}

void CommandLine::micro_batch(CLI::App& verb) {
  number(verb, "--micro-batch", &arguments_.micro_batch, kMostSequences,
         "Sequences a pass takes at once; 0: chosen. Results do not depend on it.");
}

void CommandLine::quiet(CLI::App& verb) {
  flag(verb, "--quiet", &arguments_.quiet, "Print warnings and errors only");
}

void CommandLine::events(CLI::App& verb) {
  file(verb, "--events", &arguments_.events, "Write events to this file as JSON Lines");
  quiet(verb);
}

void CommandLine::sets(CLI::App& verb) {
  verb.add_option("--set", arguments_.sets,
                  "Override a value of the file: step.gptq.weight.bits=3 (may be repeated)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void CommandLine::text(CLI::App& verb, const char* help) {
  file(verb, "--text", &arguments_.sample, help);
}

void CommandLine::work(CLI::App& verb) {
  verb.add_option("--work", work_, "Work directory, instead of [run] work")->type_name("DIR");
}

void CommandLine::overwrite(CLI::App& verb) {
  flag(verb, "--overwrite", &arguments_.overwrite,
       "Replace exports and work folder of an earlier run, if nothing else lies in them");
}

void CommandLine::json(CLI::App& verb) {
  flag(verb, "--json", &arguments_.json, "Print JSON, errors too");
}

void CommandLine::adapter(CLI::App& verb) {
  verb.add_option("--adapter", arguments_.adapter,
                  "Model adapter to use, whatever config.json says: like [model] adapter")
      ->type_name("NAME");
}

void CommandLine::add_pipeline_verbs() {
  CLI::App& run = verb("run");
  target(run, "FILE", "Pipeline file");
  sets(run);
  work(run);
  overwrite(run);
  threads(run);
  micro_batch(run);
  events(run);
  CLI::App& check = verb("check");
  target(check, "FILE", "Pipeline file");
  sets(check);
  work(check);
  overwrite(check);
  json(check);
  CLI::App& eval = verb("eval");
  target(eval, "CHECKPOINT", "Checkpoint folder to measure");
  eval.add_option("FILE", arguments_.pipeline, "Pipeline file; its [[evaluate]] entries are used")
      ->required()
      ->type_name("");
  sets(eval);
  work(eval);
  threads(eval);
  micro_batch(eval);
  events(eval);
}

void CommandLine::add_work_verbs() {
  CLI::App& resume = verb("resume");
  target(resume, "WORKDIR", "Work directory of the run to continue");
  threads(resume);
  micro_batch(resume);
  flag(resume, "--accept-plugin-change", &arguments_.accept_plugin_change,
       "Go on with plugins that were built again; result.json notes it");
  events(resume);
  CLI::App& verify = verb("verify");
  target(verify, "TARGET", "Checkpoint folder or GGUF file, or work directory of a finished run");
  verify
      .add_option("--against", arguments_.against,
                  "Model that the checkpoint was made of: what was kept must be equal")
      ->type_name("MODEL");
  CLI::Option* const serve =
      verify
          .add_option("--serve", arguments_.serve,
                      "Engine profile: what that engine would refuse at load (swage help engines)")
          ->type_name("NAME");
  verify.add_option("--device", arguments_.served_on, "Device that it is served on: sm90, cpu")
      ->type_name("DEVICE")
      ->needs(serve);
  number(verify, "--tensor-parallel", &arguments_.tensor_parallel, kMostDevices,
         "Devices that share every matrix when it is served");
  text(verify, "Measure the checkpoint's perplexity on this text");
  adapter(verify);
  threads(verify);
  quiet(verify);
  json(verify);
  CLI::App& convert = verb("convert");
  target(convert, "CHECKPOINT", "Checkpoint folder or GGUF file");
  convert.add_option("--to", arguments_.to, "Exporter; `swage plugins` lists them")
      ->type_name("EXPORTER")
      ->required();
  convert
      .add_option("--out", arguments_.out,
                  "Folder to write; absent: CHECKPOINT-EXPORTER in the current one")
      ->type_name("DIR");
  convert
      .add_option("--requantize", arguments_.requantize,
                  "Round all linears of blocks to this scheme: nvfp4, or 'bits = 4, group = 32'")
      ->type_name("SCHEME");
  text(convert, "Measure perplexity on this text, and verify what is written on its windows");
  sets(convert);
  adapter(convert);
  work(convert);
  overwrite(convert);
  threads(convert);
  events(convert);
}

void CommandLine::add_model_verbs() {
  CLI::App& inspect = verb("inspect");
  target(inspect, "MODEL", "Checkpoint folder or GGUF file");
  adapter(inspect);
  json(inspect);
  CLI::App& forward = verb("forward");
  target(forward, "MODEL", "Checkpoint folder or GGUF file");
  file(forward, "--input", &arguments_.input, "safetensors with input_ids", true);
  file(forward, "--output", &arguments_.output, "safetensors to write: hidden_0 … hidden_L, logits",
       true);
  file(forward, "--compare", &arguments_.compare,
       "safetensors to compare with; prints the differences");
  forward
      .add_option("--tolerance", arguments_.tolerance,
                  "Largest difference that --compare lets pass; beyond it the exit code is 6")
      ->type_name("X")
      ->check(check_tolerance);
  adapter(forward);
  threads(forward);
  micro_batch(forward);
}

void CommandLine::add_reading_verbs() {
  flag(verb("plugins"), "--json", &arguments_.json, "Print JSON");
  verb("help")
      .add_option("TOPIC", arguments_.target,
                  "A component, an engine, a verb, \"pipeline\", \"scheme\", \"architectures\" or "
                  "\"engines\"")
      ->type_name("");
  verb("schema");
  verb("completion")
      .add_option("SHELL", arguments_.target, "bash, zsh or fish")
      ->required()
      ->type_name("")
      ->check(check_shell);
  verb("man");
}

}  // namespace swage
