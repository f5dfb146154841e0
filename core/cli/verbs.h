#pragma once
#include "absl/status/status.h"
#include "core/cli/arguments.h"

namespace swage {

// The verbs of `bin/swage`, one file each. They print to stdout; an error is printed by main.
absl::Status plugins(const Arguments& arguments);
absl::Status help(const Arguments& arguments);
absl::Status schema(const Arguments& arguments);
absl::Status completion(const Arguments& arguments);
absl::Status man(const Arguments& arguments);

// Every verb that computes: checks what can be checked without LibTorch, then becomes
// `swage-engine` with the same arguments. Returns only when that fails.
absl::Status compute(const Arguments& arguments, char** argv);

}  // namespace swage
