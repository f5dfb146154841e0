#include "core/engine/run.h"

#include <filesystem>

#include "core/engine/verbs/verbs.h"

namespace swage {

absl::Status run(const Arguments& arguments) {
  const RunCommand command = {"run",
                              std::filesystem::current_path().string(),
                              arguments.pipeline,
                              arguments.sets,
                              arguments.plugin_path,
                              arguments.overwrite};
  return start_run(command, {arguments.events, arguments.quiet});
}

}  // namespace swage
