#include "core/engine/process.h"

#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>
#include <link.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/shell_quoted.h"
#include "core/load/crash_handler.h"
#include "swage/status.h"

namespace swage {
namespace {

// A line such as "VmHWM:     12345 kB".
int64_t status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == key + ":" && file >> kib) return kib * 1024;
  }
  return 0;
}

std::atomic<int> signals{0};
std::atomic<bool> bar_drawn{false};
std::atomic<bool> commits{false};
bool on_terminal = false;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not wait");

// Only what is allowed in a signal handler.
void say(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

extern "C" void on_interrupt(int) {
  const int saved = errno;
  // Behind the terminal's own ^C.
  if (bar_drawn.exchange(false))
    say("\r\x1b[K");
  else if (on_terminal)
    say("\n");
  if (signals.fetch_add(1) > 0) end_process(static_cast<int>(ExitCode::kInterrupted));
  say(commits ? "stopping once the block at work is committed; again to stop at once\n"
              : "stopping; again to stop at once\n");
  errno = saved;
}

// Written by the thread of the run alone; the handler does not look.
std::string& committed_work() {
  static auto* const work = new std::string();
  return *work;
}

absl::Status device_error(const std::string& text) {
  return with_exit_code(absl::FailedPreconditionError(text), ExitCode::kPipeline);
}

// Where the libtorch_cpu of this process lies, with a slash at the end.
std::string libtorch_folder() {
  std::string folder;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        const std::string path = info->dlpi_name;
        if (!absl::EndsWith(path, "/libtorch_cpu.so")) return 0;
        *static_cast<std::string*>(out) = path.substr(0, path.rfind('/') + 1);
        return 1;
      },
      &folder);
  return folder;
}

absl::StatusOr<c10::Device> open_cuda(const std::string& name, int64_t index) {
  const std::string library = libtorch_folder() + "libtorch_cuda.so";
  // Never closed: what it registers with LibTorch stays there.
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    return device_error(
        absl::StrCat("device \"", name, "\": LibTorch's CUDA library cannot be opened (", dlerror(),
                     "); install what is missing beside LibTorch, or use [run] device = \"cpu\""));
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  const int64_t count = hooks.hasCUDA() ? int64_t{hooks.deviceCount()} : 0;
  if (count == 0)
    return device_error(
        absl::StrCat("device \"", name,
                     "\": LibTorch's CUDA library is there, but it finds no GPU "
                     "(or no driver that is new enough); use [run] device = \"cpu\""));
  if (index >= count)
    return device_error(absl::StrCat("device \"", name, "\" does not exist: this machine has ",
                                     count,
                                     count == 1 ? " GPU, \"cuda:0\"" : " GPUs, counted from 0"));
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

}  // namespace

int64_t peak_host_bytes() { return status_bytes("VmHWM"); }
int64_t current_host_bytes() { return status_bytes("VmRSS"); }

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

namespace {

// libgomp ends the process with a text of its own where the system gives it no thread: the system
// is asked before.
absl::Status find_threads(int count) {
  std::vector<pthread_t> threads;
  int error = 0;
  std::atomic<bool> over{false};
  const auto wait = [](void* over) -> void* {
    while (!*static_cast<std::atomic<bool>*>(over)) usleep(100);
    return nullptr;
  };
  for (int i = 1; i < count && error == 0; ++i) {
    pthread_t thread = {};
    error = pthread_create(&thread, nullptr, wait, &over);
    if (error == 0) threads.push_back(thread);
  }
  over = true;
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (error == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the system gives ", threads.size() + 1, " of ", count, " threads (", std::strerror(error),
      "); use fewer (--threads), or raise its limits of memory "
      "and processes"));
}

}  // namespace

absl::Status use_threads(int64_t count) {
  omp_set_dynamic(0);
  if (omp_get_max_active_levels() < 1) omp_set_max_active_levels(1);
  const int wanted = count > 0 ? static_cast<int>(count) : at::get_num_threads();
  const int threads = std::max(1, std::min(wanted, omp_get_thread_limit()));
  SWAGE_RETURN_IF_ERROR(find_threads(threads));
  at::set_num_threads(threads);
  at::parallel_for(0, threads, 1, [](int64_t, int64_t) {});  // OpenMP takes its threads now
  return absl::OkStatus();
}

void install_interrupt_handler() {
  signals = 0;
  on_terminal = isatty(STDERR_FILENO) != 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;  // a write at work goes on
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void bar_is_drawn(bool drawn) { bar_drawn = drawn; }

void commits_go_to(const std::string& work) {
  committed_work() = work;
  commits = !work.empty();
}

absl::Status interrupted() {
  if (signals == 0) return absl::OkStatus();
  if (!commits) return absl::CancelledError("interrupted; nothing was written");
  return absl::CancelledError(
      absl::StrCat("interrupted; everything committed so far is kept, go on with: swage resume ",
                   shell_quoted(committed_work())));
}

absl::StatusOr<c10::Device> open_device(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name == "cuda") return open_cuda(name, 0);
  int index = -1;
  if (absl::StartsWith(name, "cuda:") && absl::SimpleAtoi(name.substr(5), &index) && index >= 0 &&
      index < 128)
    return open_cuda(name, index);
  return with_exit_code(
      absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is no device; known are \"cpu\", \"cuda\" and \"cuda:N\"")),
      ExitCode::kPipeline);
}

}  // namespace swage
