#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/cli/arguments.h"
#include "core/config/pipeline.h"
#include "core/engine/journal.h"
#include "core/engine/reporter.h"
#include "core/engine/run_setup.h"

namespace swage {

// How a run was started: enough to start it again. Stored in its journal.
struct RunCommand {
  std::string verb;      // "run", "eval", "convert"
  std::string folder;    // current folder; relative paths of the command start there
  std::string pipeline;  // file
  std::vector<std::string> sets, plugin_path;
  bool overwrite = false;  // exports and the work folder of an earlier run may be replaced
  std::string recipe{};    // not empty: the pipeline itself, and `pipeline` what messages call it
};
Value to_value(const RunCommand& command);
RunCommand command_from(const Value& value);

// The checked pipeline that the command means, in the current folder. Of `eval` only the
// evaluations.
absl::StatusOr<LoadedPipeline> load_run(const RunCommand& command);

// The run of a journal as it was started: in its folder, with its file and --set values. Threads
// and micro-batch, which change no result, may be given anew.
absl::StatusOr<std::unique_ptr<RunSetup>> reopen_run(const Journal& journal,
                                                     std::optional<int64_t> threads,
                                                     std::optional<int64_t> micro_batch);

// Is there room for what the run makes? With `overwrite` an earlier run may go, which is looked at
// whole.
absl::Status check_room(const Pipeline& pipeline, bool overwrite);
// Starts a run: refuses a work directory that holds one, and export folders that exist, unless the
// command replaces them. The earlier journal goes; earlier exports stay until the new ones are
// whole.
absl::StatusOr<Journal> start_journal(RunSetup& setup, const RunCommand& command);
// FailedPrecondition names every difference between the run of the journal and this setup. Plugins
// that were built again may differ with `accept_plugin_change`, which the result then notes.
absl::Status compare_with_journal(const RunSetup& setup, Journal& journal,
                                  bool accept_plugin_change = false);

// Reads every export again, also one that has been found right before: nobody else looks whether it
// is still there. An export with differences is an error of exit code kVerdictFailed.
absl::Status verify_exports(RunSetup& setup, Journal& journal, Reporter& reporter);

// Everything that the journal does not count as done yet: sweep, evaluation, exports, verification,
// result.json. Prints the table of results.
absl::Status execute(RunSetup& setup, Journal& journal, Reporter& reporter);

// A run from its command to its results. With `replaces_earlier` a run that lies in its work folder
// and is not at work goes, once everything was checked.
absl::Status start_run(const RunCommand& command, const Reporter::Options& options,
                       bool replaces_earlier = false);

}  // namespace swage
