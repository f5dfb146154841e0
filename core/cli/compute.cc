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

// And no work folder.
bool is_checkpoint(const std::string& target) {
  std::error_code error;
  if (fs::exists(fs::path(target) / "run.db", error)) return false;
  return fs::exists(fs::path(target) / "config.json", error) || absl::EndsWith(target, ".gguf");
}

// The work folder of a run that goes on or is looked at.
absl::Status check_work(const std::string& verb, const std::string& work) {
  std::error_code error;
  if (fs::exists(work + "/run.db", error)) return absl::OkStatus();
  if (fs::is_regular_file(work, error))
    return missing(
        "work directory", work,
        absl::StrCat("is a file; a pipeline is started with `swage run ", shell_quoted(work), "`"));
  const char* const found =
      verb == "verify"
          ? "holds neither run.db nor config.json; expected a checkpoint, or the [run] "
            "work folder of an earlier `swage run`"
          : "holds no run.db; expected the [run] work folder of an earlier `swage run`";
  return missing("work directory", work, absl::StrCat(found, foreign_home(work)));
}

absl::Status check_model(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return missing("model", path,
                   absl::StrCat(error ? absl::StrCat("cannot be reached (", error.message(), ")")
                                      : "does not exist",
                                foreign_path(path)));
  }
  if (!absl::EndsWith(path, ".toml")) return absl::OkStatus();
  return missing("model", path,
                 absl::StrCat("is a pipeline file by its name; expected a checkpoint folder or a "
                              "GGUF file; `swage check ",
                              shell_quoted(path), "` judges pipelines"));
}

absl::Status check_file(const std::string& file, const char* expected) {
  std::error_code error;
  if (file.empty() || fs::is_regular_file(file, error)) return absl::OkStatus();
  return missing("file", file,
                 fs::exists(file, error) ? absl::StrCat("is no regular file; expected ", expected)
                                         : absl::StrCat("does not exist", foreign_home(file)));
}

absl::StatusOr<int64_t> threads_of(const absl::StatusOr<LoadedPipeline>& loaded) {
  if (!loaded.ok()) return loaded.status();
  return loaded->pipeline.run.threads;
}

absl::StatusOr<int64_t> check_evaluation(const Arguments& arguments) {
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                         read_evaluations(arguments.pipeline, arguments.sets));
  const Catalog catalog =
      Catalog::scan(plugin_search_path(arguments.plugin_path, source.plugin_paths));
  SWAGE_ASSIGN_OR_RETURN(const Pipeline pipeline, check_pipeline(source, catalog));
  return pipeline.run.threads;
}

// What can be judged in milliseconds, before LibTorch is loaded. Yields the threads that the
// pipeline asks for.
absl::StatusOr<int64_t> check_arguments(const Arguments& arguments) {
  const std::string& verb = arguments.verb;
  if (verb == "run" || verb == "check")
    return threads_of(open_pipeline(arguments.pipeline, arguments.sets, arguments.plugin_path));
  if (verb == "eval") return check_evaluation(arguments);
  const bool is_run = verb == "resume" || (verb == "verify" && !is_checkpoint(arguments.target));
  if (is_run && (!arguments.against.empty() || !arguments.sample.empty()))
    return with_exit_code(absl::InvalidArgumentError(
                              "--against and --text belong to a checkpoint; a run is compared with "
                              "what it computed"),
                          ExitCode::kUsage);
  SWAGE_RETURN_IF_ERROR(is_run ? check_work(verb, arguments.target)
                               : check_model(arguments.target));
  if (!arguments.against.empty()) SWAGE_RETURN_IF_ERROR(check_model(arguments.against));
  SWAGE_RETURN_IF_ERROR(check_file(arguments.input, "safetensors"));
  SWAGE_RETURN_IF_ERROR(check_file(arguments.compare, "safetensors"));
  SWAGE_RETURN_IF_ERROR(check_file(arguments.sample, "a text"));
  if (verb != "convert") return arguments.threads.value_or(0);
  SWAGE_ASSIGN_OR_RETURN(const PipelineSource source,
                         read_recipe(arguments.recipe, arguments.pipeline, arguments.sets));
  return threads_of(open_source(source, arguments.plugin_path));
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
