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
//   type = "float"            # bool, int, float, string, path, choice, strings
//   default = 0.01            # absent: the parameter is required
//   min = 0.0                 # numbers only
//   max = 1.0
//   choices = ["a", "b"]      # choice only
//   help = "Share of the mean diagonal that is added to the Hessian."
struct ParamManifest {
  std::string name, type, help;
  Value default_value;    // null: required, unless `optional`
  bool optional = false;  // may be absent; then the plugin sees has() == false
  std::optional<double> minimum, maximum;
  std::vector<std::string> choices;
};

// Beginnings of tensor names: as the adapter knows them, as some checkpoints spell them.
using Spellings = std::vector<std::pair<std::string, std::string>>;

struct ComponentManifest {
  std::string kind, name, interface, summary;  // interface: "algorithm/1"
  std::vector<ParamManifest> params;
  // Algorithms: which scheme tables the step may carry ("weight", "activation"); neither: a pure
  // transform.
  std::vector<std::string> schemes;
  bool calibration = false;  // algorithms: needs [calibration]
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
};

struct Manifest {
  std::string id, version, summary;
  std::vector<ComponentManifest> components;
};

// `origin` stands in messages before line and column. Unknown keys are errors with the nearest
// known one.
absl::StatusOr<Manifest> parse_manifest(std::string_view toml, const std::string& origin);

}  // namespace swage
