#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "core/config/pipeline.h"
#include "swage/io/safetensors_header.h"

namespace swage {

// What config.json and the safetensors headers tell of a checkpoint, seen through the manifest of
// its adapter. No tensor is read and no plugin runs.
struct ModelOutline {
  struct Linear {
    std::string name;  // "model.layers.0.mlp.up_proj"
    int64_t out = 0, in = 0;
    std::string kept_by;  // not empty: no step compresses it, and by which rule
    std::string tower = "language";
  };
  std::string adapter;
  std::vector<Linear> linears;  // in the order of their names
  std::vector<Linear> ends;     // embedding and head, which steps take by `match` alone
  int64_t parameters = 0;       // elements of all tensors that are not ignored
  int64_t bytes = 0;
};

// What an adapter does with a tensor: the first of these lists of its manifest that names the
// tensor or the module it belongs to.
enum class TensorRule { kLinear, kRouter, kKept, kIgnored, kNone };
TensorRule rule_of(const ComponentManifest& adapter, const std::string& tensor);
// "model.norm" of "model.norm.weight" and "model.norm.bias".
std::string owner_of(const std::string& tensor);

// Linears of other towers than these are kept.
void keep_other_towers(const std::vector<std::string>& towers, ModelOutline* outline);
// The rule by which a tower is kept: "the vision tower is not among [model] towers".
std::string tower_rule(const std::string& tower);

ModelOutline outline_model(const io::Header& header, const ComponentManifest& adapter);

// Does every glob of the pipeline fit a linear, do overrides go together? The error lists all
// problems. What a format holds of a linear's shape is its codec's to say.
absl::Status check_steps(const Pipeline& pipeline, const ModelOutline& model);

}  // namespace swage
