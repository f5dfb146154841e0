#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage {

// One parameter of a component, as its manifest declares it.
//   [[component.param]]
//   name = "damping"
//   type = "float"            # bool, int, float, string, path, choice, strings, numbers, table
//   default = 0.01            # absent: the parameter is required
//   min = 0.0                 # numbers only; of a list each
//   max = 1.0
//   choices = ["a", "b"]      # choice only
//   help = "Share of the mean diagonal that is added to the Hessian."
// Those of a format, the keys of a scheme, also take
//   tables = ["weight"]                # where it stands; absent: wherever the format does
//   when = { granularity = "group" }   # the key exists only where these hold, a value or one of a
//   list needs = { full-range = { symmetric = true } }   # a value may be taken only where these
//   hold measured = ["weighted"]            # values that need statistics of inputs, hence
//   [calibration]
struct ParamManifest {
  // That an earlier key has one of these values.
  struct Condition {
    std::string key;
    Value::List values;
  };
  using Conditions = std::vector<Condition>;

  std::string name, type, help;
  Value default_value;    // null: required, unless `optional`
  bool optional = false;  // may be absent; then the plugin sees has() == false
  std::optional<double> minimum, maximum;
  std::vector<std::string> choices;
  std::vector<std::string> tables;
  Conditions when;
  std::vector<std::pair<Value, Conditions>> needs;
  Value::List measured;
};

// The parameters of a format that are keys of a table, "weight" or "activation".
std::vector<ParamManifest> keys_in(const std::vector<ParamManifest>& params,
                                   const std::string& table);

// Beginnings of tensor names: as the adapter knows them, as some checkpoints spell them.
using Spellings = std::vector<std::pair<std::string, std::string>>;

struct ComponentManifest {
  std::string kind, name, interface, summary;  // interface: "algorithm/2"
  std::vector<ParamManifest> params;
  // Algorithms: which scheme tables the step may carry ("weight", "activation"); neither: a pure
  // transform.
  std::vector<std::string> schemes;
  bool calibration = false;         // algorithms: needs [calibration]
  std::vector<std::string> tables;  // formats: the scheme tables that may name them
  // Models: config.json values served, and globs over tensor names.
  std::vector<std::string> architectures, model_types;
  std::vector<std::string>
      linears;  // "model.layers.*.self_attn.q_proj": weights that steps compress
  std::vector<std::string> routers;  // linears that follow folds but are never compressed
  std::vector<std::string> kept;     // tensors written as they are
  std::string blocks;  // path of the decoder's blocks where those from num_hidden_layers on are
                       // draft layers: they are dropped
  std::vector<std::string> ignored;  // tensors of a checkpoint that are dropped (rotary buffers)
  std::string head = "lm_head";      // module of the output matrix
  // Other names of the same tensors: spellings = ["model. = model.language_model."].
  Spellings spellings;
  // Modules of the towers before the language's: [component.towers] vision = ["visual.*"].
  std::vector<std::pair<std::string, std::vector<std::string>>> towers;
  // The key of config.json that holds the language model's own, where another adapter serves the
  // language tower, and how its tensors are spelled here.
  std::string language;
  std::string language_type;  // its model_type where it states none, or where there is no such key
  Spellings language_spellings;
  std::string quant_method;  // exporters: the quantization_config.quant_method they read, if any
  // Exporters whose checkpoints are known otherwise, where quantization_config names no method: by
  // a table of config.json, or by the end of a tensor's name.
  std::string config_key;
  std::vector<std::string> tensor_ends;
};

struct Manifest {
  std::string id, version, summary;
  std::vector<ComponentManifest> components;
};

// "model", "algorithm", "evaluator", "exporter", "format": in the order in which they are listed.
const std::vector<std::string>& component_kinds();

// The version of a kind's interface that the host knows (interfaces.h), "algorithm/2"; "" of a kind
// that does not exist.
std::string interface_of(const std::string& kind);

// "" when the host knows the interface of every component. Else which one it does
// not, what it knows instead, and what to do.
std::string interface_difference(const Manifest& manifest);

// `origin` stands in messages before line and column. Unknown keys are errors with the nearest
// known one.
absl::StatusOr<Manifest> parse_manifest(std::string_view toml, const std::string& origin);

}  // namespace swage
