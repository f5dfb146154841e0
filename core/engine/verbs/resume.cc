#include <filesystem>

#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {

absl::Status resume(const Arguments& arguments) {
  const std::string work = std::filesystem::absolute(arguments.target).string();
  SWAGE_ASSIGN_OR_RETURN(Journal journal, Journal::open(work));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter,
                         Reporter::create({arguments.events, arguments.quiet}));
  SWAGE_ASSIGN_OR_RETURN(const auto setup,
                         reopen_run(journal, arguments.threads, arguments.micro_batch));
  SWAGE_RETURN_IF_ERROR(compare_with_journal(*setup, journal, arguments.accept_plugin_change));
  return execute(*setup, journal, *reporter);
}

}  // namespace swage
