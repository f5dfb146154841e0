#include "core/engine/export_folder.h"

#include "absl/strings/str_cat.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/folder_reader.h"
#include "swage/io/stored_checkpoint.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_export(const Exporter& exporter,
                                                            const std::string& path) {
  const FolderReader* reader = nullptr;
  std::unique_ptr<io::Checkpoint> checkpoint;
  SWAGE_RETURN_IF_ERROR(call_plugin(site_of(&exporter, "open the export"), [&]() -> absl::Status {
    reader = static_cast<const FolderReader*>(exporter.query(kFolderReader));
    if (reader == nullptr) return absl::OkStatus();
    auto opened = reader->open_folder(path);
    if (!opened.ok()) return annotate(opened.status(), path);
    checkpoint = *std::move(opened);
    return checkpoint ? absl::OkStatus() : plugin_fault("null instead of a checkpoint");
  }));
  if (reader == nullptr) return io::open_stored_checkpoint(path);
  return checkpoint;
}

}  // namespace swage
