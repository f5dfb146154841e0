#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/config/convert_recipe.h"
#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

bool names_work(const std::vector<std::string>& sets) {
  for (const std::string& set : sets) {
    if (absl::StartsWith(set, "run.work=")) return true;
  }
  return false;
}

}  // namespace

absl::Status eval(const Arguments& arguments) {
  RunCommand command = {"eval", fs::current_path().string(), arguments.pipeline, arguments.sets,
                        arguments.plugin_path};
  const bool own_folder = !names_work(command.sets);
  if (own_folder) {
    // Its own folder, which holds nothing but an earlier measurement of the same name.
    const fs::path work = fs::absolute("runs") / ("eval-" + name_of_checkpoint(arguments.target));
    command.sets.push_back(absl::StrCat("run.work=\"", work.string(), "\""));
  }
  return start_run(command, {arguments.events, arguments.quiet}, own_folder);
}

}  // namespace swage
