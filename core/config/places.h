#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/config/param_check.h"
#include "core/config/pipeline.h"

namespace swage {

// Where a run reads and writes. Folders are compared as the file system sees them: links followed,
// ".." taken out, also in the part of a path that does not exist yet.

// May this be the name of a file within a folder? Empty, or why not.
std::string why_no_file_name(const std::string& name);

// Work folder, exports, caches and the model: does none lie where another would be spoiled, can
// each be given its name? Looks at paths alone, so it holds for runs that go on, too.
void check_places(const Pipeline& pipeline, const Document& document, Problems* problems);

// May what an earlier run left in a folder be replaced? An error says what is not Swage's.
struct Earlier {
  std::function<absl::Status(const std::string&folder)> work, exported;
};

// Before a run starts: is there room for what it makes? Exports must not exist or be empty folders
// on the file system of their parent, and the work folder must hold nothing; what is there already
// is never taken, but for what `earlier` passes (null: nothing). All must be in writable folders.
absl::Status check_vacant(const Pipeline& pipeline, const Earlier* earlier);

}  // namespace swage
