#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/serve/engine_profile.h"
#include "swage/scheme.h"

namespace swage {

// What of a linear decides whether an engine loads it. No tensor library: a summary of a plan
// (core/engine/served_export.h) or of a checkpoint.
struct ServedLinear {
  std::string name;  // "model.layers.0.mlp.up_proj"
  int64_t out = 0, in = 0;
  bool kept = false;  // in floats; what follows does not count then
  Scheme weight;
  std::optional<Scheme> activation;
  std::string text;        // "w4 g64 symmetric with a8 dynamic", for messages
  std::string form;        // equal for linears whose files are read the same way
  std::string scale_type;  // of the weight's scales: "bf16"
  int64_t rows_together = 1, columns_together = 1;  // no cut goes through so many
  bool act_order = false, mask = false, transform = false, sides = false;
  bool is_head = false, is_embedding = false;
};

struct ServedModel {
  std::vector<ServedLinear> linears;  // all, kept ones too
  int64_t heads = 0, kv_heads = 0;    // of attention; 0: not known
  std::optional<Scheme> kv;           // of the cache of keys and values
};

// Who is to serve it.
struct Serving {
  int64_t tensor_parallel = 1;
  std::optional<Device> device;  // none: any
};

}  // namespace swage
