#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/checkpoint.h"

namespace swage {

// A finished export as its exporter reads it: through its FolderReader where it has one, else as it
// is stored.
absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_export(const Exporter& exporter,
                                                            const std::string& path);

}  // namespace swage
