#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {

// Opens the run in WORKDIR as it was started: in its folder, with its file and --set values. What
// changes no result may be given anew.
absl::StatusOr<LoadedPipeline> reopen(const Journal& journal, const Arguments& arguments) {
  SWAGE_ASSIGN_OR_RETURN(const Value stored, journal.get("run", "command"));
  RunCommand command = command_from(stored);
  std::error_code error;
  std::filesystem::current_path(command.folder, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("the run was started in ", command.folder,
                                            ", which cannot be entered (", error.message(), ")"));
  }
  if (arguments.threads) command.sets.push_back(absl::StrCat("run.threads=", *arguments.threads));
  if (arguments.micro_batch)
    command.sets.push_back(absl::StrCat("run.micro_batch=", *arguments.micro_batch));
  return load_run(command);
}

absl::Status resume(const Arguments& arguments) {
  const std::string work = std::filesystem::absolute(arguments.target).string();
  SWAGE_ASSIGN_OR_RETURN(Journal journal, Journal::open(work));
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, reopen(journal, arguments));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter,
                         Reporter::create({arguments.events, arguments.quiet}));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
  SWAGE_RETURN_IF_ERROR(compare_with_journal(*setup, journal));
  return execute(*setup, journal, *reporter);
}

}  // namespace swage
