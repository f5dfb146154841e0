#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace swage {

// The command line of `swage` and of `swage-engine`, which gets the same arguments.
struct Arguments {
  std::string verb;      // "run"; empty: print `text`
  std::string text;      // what --help or --version print
  std::string target;    // the verb's first argument: a pipeline file, work directory, model,
                         // checkpoint or help topic
  std::string pipeline;  // the pipeline file of run, check and eval
  // --set, then what other options say about the pipeline: --work, --threads and --micro-batch as
  // run.*, and the checkpoint of `eval` as model.path.
  std::vector<std::string> sets;
  std::vector<std::string> plugin_path;
  std::optional<int64_t> threads, micro_batch;
  std::string events;                      // file for JSON Lines; empty: none
  std::string input, output, compare;      // forward
  std::optional<double> tolerance;         // forward, beside `compare`
  std::string adapter;                     // forward, inspect, verify, convert; empty: config.json
  std::string to, out, requantize;         // convert
  std::string against;                     // verify
  std::string serve, served_on;            // verify: engine profile, device
  std::optional<int64_t> tensor_parallel;  // verify, beside `serve`
  std::string sample;                      // verify, convert: --text
  std::string recipe;                      // convert: the pipeline that it means
  bool quiet = false, json = false;
  bool overwrite = false;             // run, check, convert
  bool accept_plugin_change = false;  // resume
};

// Errors are of class kUsage and name the nearest verb or option.
absl::StatusOr<Arguments> parse_arguments(int argc, const char* const* argv);

// All verbs, in the order help shows them, and those that `swage-engine` serves.
struct Verb {
  std::string name, summary;
  bool computes = false;
};
const std::vector<Verb>& verbs();
// What `swage VERB --help` prints; empty for an unknown verb.
std::string verb_help(const std::string& verb);

}  // namespace swage
