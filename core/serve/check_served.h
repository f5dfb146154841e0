#pragma once
#include <string>
#include <vector>

#include "core/serve/served.h"

namespace swage {

// What the engine would refuse at load, or read as something else than was measured, of a
// checkpoint that the exporter `use` writes: one problem a line, each with what was found, what the
// engine accepts and what to write instead. Empty: it serves it.
std::vector<std::string> check_served(const EngineProfile& profile, const std::string& use,
                                      const ServedModel& model, const Serving& serving);

}  // namespace swage
