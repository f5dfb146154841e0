#pragma once
#include <string>

#include "absl/status/status.h"
#include "core/config/pipeline.h"
#include "core/engine/journal.h"

namespace swage {

// What an export is made of, in a file of its own beside it: recipe, versions, digests of model and
// data, measured figures. Nothing in it says where or when the run was, so that equal runs write
// equal bytes.
inline constexpr const char* kProvenanceFile = "swage.json";

// `folder` is the finished export that has no name yet; the run has measured what it measures.
absl::Status write_provenance(const Journal& journal, const Pipeline& pipeline,
                              const ExportSpec& spec, const std::string& folder);

}  // namespace swage
