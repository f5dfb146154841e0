#pragma once
#include <string>
#include <vector>

#include "core/engine/outcome.h"

namespace swage {

// What to say of weights that became 0, and of linears that were 0 before: "all weights became 0
// for 12 of 64 inputs of model.layers.0.mlp.down_proj: …", with the way out where there is one.
std::vector<std::string> zero_notes(const std::vector<LinearOutcome>& outcomes);

}  // namespace swage
