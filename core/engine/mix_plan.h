#pragma once
#include "absl/status/status.h"
#include "core/config/pipeline.h"
#include "core/engine/opened_model.h"

namespace swage {

// Fills Step::mixed of steps with a mix: the scheme of each linear, by its name, its layer and the
// width that formats cut. The ends are known to the steps already.
absl::Status plan_mixes(const OpenedModel& model, Pipeline* pipeline);

}  // namespace swage
