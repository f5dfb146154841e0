#include "core/config/keys.h"

#include <algorithm>

#include "swage/status.h"

namespace swage {
namespace {

ParamManifest key(const char* name, const char* type, Value default_value, const char* help) {
  ParamManifest param;
  param.name = name;
  param.type = type;
  param.default_value = std::move(default_value);
  param.help = help;
  return param;
}

ParamManifest optional(const char* name, const char* type, const char* help) {
  ParamManifest param = key(name, type, Value(), help);
  param.optional = true;
  return param;
}

ParamManifest choice(const char* name, const char* default_value, std::vector<std::string> choices,
                     const char* help) {
  ParamManifest param = key(name, "choice", Value(default_value), help);
  param.choices = std::move(choices);
  return param;
}

ParamManifest integer(const char* name, int64_t default_value, double minimum, double maximum,
                      const char* help) {
  ParamManifest param = key(name, "int", Value(default_value), help);
  param.minimum = minimum;
  param.maximum = maximum;
  return param;
}

ParamManifest seed(const char* help) {
  ParamManifest param = key("seed", "int", Value(int64_t{0}), help);
  param.minimum = 0;
  return param;
}

const char kUse[] = "Name of the component; `swage plugins` lists them.";
const char kName[] =
    "Name in --set, result.json and messages; `use` when absent. Unique within its kind.";

std::vector<Section> make_sections() {
  std::vector<Section> all;
  all.push_back(
      {"model",
       "The model to compress.",
       false,
       "",
       {key("path", "path", Value(), "Folder of a Hugging Face checkpoint, or a GGUF file."),
        optional("adapter", "string",
                 "Model adapter to use, where several plugins serve config.json or none does; "
                 "absent: config.json decides."),
        key("towers", "strings", Value(Value::List{"language"}),
            "Towers whose linears are compressed: \"language\", and \"vision\" and \"projector\" "
            "where images come in; the others keep their precision."),
        choice("start", "floats", {"floats", "decoded"},
               "What a run begins with: floats alone, or also a compressed checkpoint: steps work "
               "on what it decodes to, linears that none names keep their codes.")},
       {}});
  all.push_back(
      {"calibration",
       "Text that steps measure activations on. Needed when a step says so.",
       false,
       "",
       {key("source", "path", Value(),
            "Text (.txt), one document a line (.jsonl), or token ids (.json)."),
        choice("recipe", "even", {"even", "gptq", "awq", "whole"},
               "How windows are drawn: at an even stride, at random places, from "
               "shuffled documents, one per document."),
        integer("samples", 128, 1, 1 << 20, "Windows drawn at most."),
        integer("length", 2048, 1, 1 << 20, "Tokens of a window."),
        seed("Seed of the random recipes."),
        key("experts", "string", Value("routed"),
            "Tokens that a mixture's experts are measured on: \"routed\", \"top-8\" (so many "
            "experts see each token), or \"all\"; outputs stay routed."),
        integer("expert_tokens", 32, 0, 1 << 20,
                "An expert with fewer takes the statistics of all tokens, or is rounded "
                "to nearest where it has none to share.")},
       {}});
  all.push_back({"scheme",
                 "Number formats that hold for every step unless it says otherwise.",
                 false,
                 "",
                 {},
                 {"weight", "activation"}});
  all.push_back(
      {"step",
       "One algorithm, applied in the order of the file.",
       true,
       "algorithm",
       {key("use", "string", Value(), kUse), optional("name", "string", kName),
        optional("match", "strings",
                 "Globs over linear names; absent: every linear of the blocks."),
        optional("mix", "string",
                 "Several formats for the weights, chosen by name and layer, such as \"q4_k_m\" "
                 "(swage help mixes); `weight` then gives keys for all of them."),
        [] {
          ParamManifest param =
              optional("calibrate_on", "choice",
                       "Activations of the original or of the so far compressed model; absent: the "
                       "algorithm's own choice.");
          param.choices = {"original", "compressed"};
          return param;
        }()},
       {"weight", "activation"}});
  all.push_back({"evaluate",
                 "One measurement of the original and the compressed model.",
                 true,
                 "evaluator",
                 {key("use", "string", Value(), kUse), optional("name", "string", kName)},
                 {}});
  all.push_back({"export",
                 "One checkpoint to write.",
                 true,
                 "exporter",
                 {key("use", "string", Value(), kUse), optional("name", "string", kName),
                  key("path", "string", Value(), "Folder to write, relative to the current one."),
                  optional("serve", "string",
                           "Engine profile of what will serve it: what that engine would refuse or "
                           "misread is an error before any work. `swage help engines` lists them."),
                  [] {
                    ParamManifest param =
                        optional("tensor_parallel", "int",
                                 "Devices that share every matrix when it is served; with serve.");
                    param.minimum = 1;
                    param.maximum = 1024;
                    return param;
                  }(),
                  optional("device", "string",
                           "Device that it is served on, such as \"sm90\" or \"cpu\"; with serve. "
                           "Absent: any that the engine runs on.")},
                 {}});
  all.push_back({"plugins",
                 "Where plugins are looked for, beside the usual places.",
                 false,
                 "",
                 {key("path", "strings", Value(Value::List{}), "Folders with *.swage.so files.")},
                 {}});
  all.push_back(
      {"run",
       "How and where the run computes.",
       false,
       "",
       {optional("work", "string",
                 "Work directory, relative to the current one; absent: runs/<name of the file>."),
        key("device", "string", Value("cpu"), "\"cpu\"; GPUs are not served yet."),
        choice("compute", "float32", {"float32", "bfloat16", "float64"},
               "Type of the arithmetic in the model's forward pass."),
        integer("threads", 0, 0, 4096, "Threads; 0: all cores. Results do not depend on it."),
        integer("micro_batch", 0, 0, 1 << 20,
                "Sequences a pass takes at once; 0: chosen. Results do not depend on it."),
        integer("verify_windows", 1, 0, 1 << 20,
                "Windows run again through what each export decodes to."),
        optional("reference_cache", "string",
                 "Folder in which hidden states of original models are kept, so that many runs on "
                 "one model and text measure it once."),
        seed("Seed of everything random.")},
       {}});
  return all;
}

}  // namespace

const std::vector<Section>& sections() {
  static const auto* const all = new std::vector<Section>(make_sections());
  return *all;
}

const Section& section(const std::string& name) {
  const auto it = std::find_if(sections().begin(), sections().end(),
                               [&](const Section& s) { return s.name == name; });
  SWAGE_CHECK(it != sections().end());
  return *it;
}

const std::vector<ParamManifest>& override_keys() {
  static const auto* const keys = new std::vector<ParamManifest>{
      key("match", "string", Value(), "Glob over linear names, for example \"*.down_proj\"."),
      key("keep", "bool", Value(false), "Leave these linears in floats.")};
  return *keys;
}

}  // namespace swage
