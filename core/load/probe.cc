#include "core/load/probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/prefix.h"
#include "core/load/probe/answer.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLimit(60);  // opening takes half a second, most of it LibTorch
constexpr size_t kMaxOutput = 4096;

// One line for a file in its present form.
std::string identity(const PluginEntry& entry) {
  struct stat info;
  if (stat(entry.file.c_str(), &info) != 0) return "";
  return absl::StrCat(entry.file, " ", info.st_size, " ", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, " ", entry.build_id);
}

fs::path cache_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "swage" / "probed";
  const char* home = std::getenv("HOME");
  return home == nullptr ? fs::path() : fs::path(home) / ".cache" / "swage" / "probed";
}

bool remembered(const std::string& line) {
  std::ifstream file(cache_file());
  for (std::string known; std::getline(file, known);) {
    if (known == line) return true;
  }
  return false;
}

// Without a place to write the file is tried again next time.
void remember(const std::string& line) {
  const fs::path file = cache_file();
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  std::ofstream(file, std::ios::app) << line + "\n";
}

// What lies in the pipe; false where there will be no more.
bool read_some(int fd, std::string* output) {
  char buffer[512];
  const ssize_t size = read(fd, buffer, sizeof buffer);
  if (size > 0)
    output->append(buffer, std::min(static_cast<size_t>(size),
                                    kMaxOutput - std::min(kMaxOutput, output->size())));
  return size > 0 || (size < 0 && errno == EINTR);
}

// Until the child ends or the time is over; false in the latter case. What it leaves behind may
// hold the pipe open for ever, so that says nothing.
bool await(pid_t child, int fd, std::string* output, int* state) {
  const auto end = Clock::now() + kLimit;
  for (bool open = true; Clock::now() < end;) {
    if (waitpid(child, state, WNOHANG) == child) {
      for (pollfd rest = {fd, POLLIN, 0}; poll(&rest, 1, 0) > 0 && output->size() < kMaxOutput;)
        if (!read_some(fd, output)) break;
      return true;
    }
    pollfd wait = {open ? fd : -1, POLLIN, 0};
    if (poll(&wait, 1, 5) > 0) open = read_some(fd, output);
  }
  return false;
}

// A group of its own, and no descriptor but those of its output.
absl::StatusOr<pid_t> spawn(const std::string& program, const std::string& file, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  char* argv[] = {const_cast<char*>(program.c_str()), const_cast<char*>(file.c_str()), nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return child;
  return absl::InternalError(
      absl::StrCat("cannot start \"", program, "\": ", std::strerror(error),
                   "; it is installed beside swage-engine, please install swage again"));
}

absl::Status verdict(bool in_time, int state, std::string output) {
  absl::StripAsciiWhitespace(&output);
  const std::string said = output.empty() ? "" : ": " + output;
  if (!in_time) {
    return absl::FailedPreconditionError(absl::StrCat("is refused: opening it did not end within ",
                                                      kLimit.count(), " seconds", said));
  }
  if (WIFSIGNALED(state)) {
    return absl::FailedPreconditionError(
        absl::StrCat("is refused: opening it ends the process by signal ", WTERMSIG(state), " (",
                     strsignal(WTERMSIG(state)), ")", said));
  }
  if (WEXITSTATUS(state) == kProbeOpened) return absl::OkStatus();
  if (WEXITSTATUS(state) != kProbeRefused)
    return absl::FailedPreconditionError(absl::StrCat(
        "is refused: opening it ends the process by exit(", WEXITSTATUS(state), ")", said));
  return absl::FailedPreconditionError(absl::StrCat("cannot be opened", said));
}

absl::Status try_in_child(const std::string& file) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  const absl::StatusOr<pid_t> child =
      spawn(installation_prefix() + "/libexec/swage/swage-probe", file, ends[1]);
  close(ends[1]);
  std::string output;
  int state = 0;
  const bool in_time = child.ok() && await(*child, ends[0], &output, &state);
  close(ends[0]);
  SWAGE_RETURN_IF_ERROR(child.status());
  kill(-*child, SIGKILL);  // with what it has started
  if (!in_time) waitpid(*child, &state, 0);
  return verdict(in_time, state, std::move(output));
}

}  // namespace

absl::Status probe(const PluginEntry& entry) {
  if (absl::StartsWith(entry.file, installation_prefix() + "/lib/swage/plugins/"))
    return absl::OkStatus();
  const std::string line = identity(entry);
  if (remembered(line)) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(try_in_child(entry.file));
  remember(line);
  return absl::OkStatus();
}

}  // namespace swage
