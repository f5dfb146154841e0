#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/run.h"
#include "core/engine/run_record.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {

absl::Status verify(const Arguments& arguments) {
  const std::string work = std::filesystem::absolute(arguments.target).string();
  if (!std::filesystem::exists(std::filesystem::path(work) / "run.db"))
    return verify_checkpoint(arguments);
  SWAGE_ASSIGN_OR_RETURN(Journal journal, Journal::open(work));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create({"", arguments.quiet}));
  SWAGE_ASSIGN_OR_RETURN(const auto setup, reopen_run(journal, arguments.threads, {}));
  SWAGE_RETURN_IF_ERROR(compare_with_journal(*setup, journal));
  for (const ExportWriter& writer : setup->writers) {
    SWAGE_ASSIGN_OR_RETURN(const bool done,
                           is_done(journal, "phase", "export/" + writer.spec().name));
    if (done) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        work, ": the run is not finished, so there is no export \"", writer.spec().name,
        "\" yet; `swage resume ", arguments.target, "` continues it"));
  }
  SWAGE_RETURN_IF_ERROR(verify_exports(*setup, journal, *reporter));
  for (const ExportWriter& writer : setup->writers)
    reporter->print(
        absl::StrCat(writer.spec().path, ": decodes to what the run computed",
                     setup->why_no_windows.empty()
                         ? ""
                         : absl::StrCat("; windows: none, because ", setup->why_no_windows),
                     "\n"));
  return absl::OkStatus();
}

}  // namespace swage
