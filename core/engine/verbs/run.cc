#include "core/engine/run.h"

#include <filesystem>

#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {

absl::Status run(const Arguments& arguments) {
  const RunCommand command = {"run", std::filesystem::current_path().string(), arguments.pipeline,
                              arguments.sets, arguments.plugin_path};
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter,
                         Reporter::create({arguments.events, arguments.quiet}));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
  SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
  return execute(*setup, journal, *reporter);
}

}  // namespace swage
