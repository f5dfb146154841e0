#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/serve/served.h"

namespace swage {

// How an engine computes a linear: alone or as part of a joined matrix, and what of it one device
// holds.
struct Share {
  std::vector<const ServedLinear*> joined;  // members of its matrix, itself among them; none: alone
  int64_t out = 0, in = 0;                  // of the (joined) matrix, on one device
};

// Members that the engine joins: q_proj, k_proj and v_proj of one module, say. By name of a member.
using JoinedSets = std::map<std::string, std::vector<const ServedLinear*>>;
JoinedSets joined_sets(const EngineProfile& profile, const std::vector<ServedLinear>& linears);

// "model.layers.3.mlp.experts" of "model.layers.3.mlp.experts.7.up_proj"; "" where it is no expert.
// Where they are told apart by projection "model.layers.3.mlp.experts.*.up_proj", "experts" where
// all of the model are computed alike.
std::string experts_of(const EngineProfile& profile, const std::string& linear);

// What one device holds of a linear. `problem`: why it cannot be shared out so, with what would do.
Share share_of(const EngineProfile& profile, const ServedModel& model, const Serving& serving,
               const JoinedSets& joined, const ServedLinear& linear, std::string* problem);

// "" or why so many devices cannot share the heads of attention.
std::string heads_problem(const ServedModel& model, int64_t devices);

}  // namespace swage
