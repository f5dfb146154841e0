#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/catalog/adapter_rules.h"
#include "core/load/loader.h"
#include "swage/model.h"

namespace swage {

// The adapter of a checkpoint, made, opened with its config.json and ready to load: it reads and
// names tensors as the checkpoint spells them, and its language tower is another adapter's where
// the rules say so. The rules may go; the loader's plugins stay.
absl::StatusOr<std::shared_ptr<ModelAdapter>> open_adapter(Loader& loader,
                                                           const AdapterRules& rules,
                                                           const Value& config);

}  // namespace swage
