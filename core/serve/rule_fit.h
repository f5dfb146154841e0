#pragma once
#include <string>
#include <vector>

#include "core/serve/splits.h"

namespace swage {

// One thing by which a linear does not fit a rule.
struct Misfit {
  int weight = 0;  // how far it is from fitting: the nearest rule has the least
  std::string found, accepted, remedy;  // "group = 96", "group 32, 64 or 128", "group = 64"
};

ServedPlace place_of(const EngineProfile& profile, const ServedLinear& linear);

// Empty: the engine computes it as it was measured.
std::vector<Misfit> misfits(const EngineProfile& profile, const AcceptRule& rule,
                            const ServedLinear& linear, const Share& share, const Serving& serving);

// What the engine takes, in one line: "int, bits 4 or 8, group 32, 64 or 128; inputs in floats".
std::string describe(const AcceptRule& rule);
std::string describe(const SchemeConditions& conditions);
// `32, 64 or 128`.
std::string alternatives(const Value::List& values);

}  // namespace swage
