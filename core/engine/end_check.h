#pragma once
#include "absl/status/status.h"

namespace swage {

struct RunSetup;

// Can the steps do what they plan for embedding and head? The error names the step and the reason.
// What becomes of a head that is tied to the embedding goes to the remarks.
absl::Status check_ends(RunSetup& setup);

}  // namespace swage
