#pragma once
#include <functional>

#include "absl/status/status.h"

namespace swage {

// Runs `call` and turns whatever it throws into a status, with the payload kThrownByPlugin where
// `mark` asks for it.
absl::Status catching(const std::function<absl::Status()>& call, bool mark);

}  // namespace swage
