#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/address_space.h"
#include "core/base/exit_codes.h"
#include "core/base/shell_quoted.h"
#include "core/cli/verbs.h"
#include "core/config/foreign_names.h"
#include "core/config/pipeline.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

absl::Status missing(const std::string& what, const std::string& path,
                     const std::string& expected) {
  return with_exit_code(absl::NotFoundError(absl::StrCat(what, " \"", path, "\" ", expected)),
                        ExitCode::kInput);
}

// What the engine's libraries take of the address space before it runs. With less the dynamic
// linker ends the process (exit code 127) or LibTorch does (a signal).
constexpr int64_t kEngineBytes = int64_t{600} << 20;

// What can be judged in milliseconds, before LibTorch is loaded. Yields the threads that the
// pipeline asks for.
absl::StatusOr<int64_t> check_arguments(const Arguments& arguments) {
  const std::string& verb = arguments.verb;
  int64_t threads = arguments.threads.value_or(0);
  if (verb == "run" || verb == "check") {
    SWAGE_ASSIGN_OR_RETURN(
        const LoadedPipeline loaded,
        open_pipeline(arguments.pipeline, arguments.sets, arguments.plugin_path));
    return loaded.pipeline.run.threads;
  }
  if (verb == "eval") {
    SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                           read_evaluations(arguments.pipeline, arguments.sets));
    const Catalog catalog =
        Catalog::scan(plugin_search_path(arguments.plugin_path, source.plugin_paths));
    SWAGE_ASSIGN_OR_RETURN(const Pipeline pipeline, check_pipeline(source, catalog));
    return pipeline.run.threads;
  }
  const bool is_run = verb == "resume" || verb == "verify";
  std::error_code error;
  if (is_run && !fs::exists(arguments.target + "/run.db", error)) {
    const bool is_file = fs::is_regular_file(arguments.target, error);
    return missing("work directory", arguments.target,
                   is_file ? absl::StrCat("is a file; a pipeline is started with `swage run ",
                                          shell_quoted(arguments.target), "`")
                           : absl::StrCat("holds no run.db; expected the [run] work folder of an "
                                          "earlier `swage run`",
                                          foreign_home(arguments.target)));
  }
  if (!is_run && !fs::exists(arguments.target, error)) {
    return missing("model", arguments.target,
                   absl::StrCat(error ? absl::StrCat("cannot be reached (", error.message(), ")")
                                      : "does not exist",
                                foreign_path(arguments.target)));
  }
  if (!is_run && absl::EndsWith(arguments.target, ".toml")) {
    return missing("model", arguments.target,
                   absl::StrCat("is a pipeline file by its name; expected a checkpoint folder or a "
                                "GGUF file; `swage check ",
                                shell_quoted(arguments.target), "` judges pipelines"));
  }
  for (const std::string& file : {arguments.input, arguments.compare}) {
    if (!file.empty() && !fs::is_regular_file(file, error))
      return missing("file", file,
                     fs::exists(file, error) ? "is no regular file; expected safetensors"
                                             : absl::StrCat("does not exist", foreign_home(file)));
  }
  return threads;
}

// MKL then takes one code path for every thread count, which "same input, same bytes" rests on.
void set_environment(int64_t threads) {
  setenv("MKL_CBWR", "AUTO,STRICT", 1);
  // Waiting threads sleep: on a machine that others use too, spinning ones take the time of those
  // they wait for. Some 20 microseconds of spinning bridge the gaps between two products.
  setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
  setenv("GOMP_SPINCOUNT", "20000", 0);
  // Libraries share work by the number of threads that they ask for, and read what was never
  // written where OpenMP gives fewer. OMP_THREAD_LIMIT is kept: the engine asks for no more.
  for (const char* name : {"OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED"}) unsetenv(name);
  if (threads == 0) return;
  const std::string count = absl::StrCat(threads);
  setenv("OMP_NUM_THREADS", count.c_str(), 1);
  setenv("MKL_NUM_THREADS", count.c_str(), 1);
}

}  // namespace

absl::Status compute(const Arguments& arguments, char** argv) {
  SWAGE_ASSIGN_OR_RETURN(const int64_t threads, check_arguments(arguments));
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const std::string engine =
      (self.parent_path() / "../libexec/swage/swage-engine").lexically_normal().string();
  SWAGE_RETURN_IF_ERROR(check_address_space(kEngineBytes));
  set_environment(threads);
  execv(engine.c_str(), argv);
  return absl::InternalError(
      absl::StrCat("cannot start \"", engine, "\": ", std::strerror(errno),
                   "; it is installed beside bin/swage, please install swage again"));
}

}  // namespace swage
