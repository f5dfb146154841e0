#include "process_state.h"

#include <ATen/Parallel.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace swage {
namespace {

std::string current_folder() {
  char folder[PATH_MAX];
  return getcwd(folder, sizeof folder) == nullptr ? "" : folder;
}

std::string c_locale() {
  const char* name = std::setlocale(LC_ALL, nullptr);
  return name == nullptr ? "C" : name;
}

// Copies of descriptors 0 to 2, above those that code closes in a loop, while any thread is in a
// call.
class StandardFiles {
 public:
  void enter() {
    const std::lock_guard lock(mutex_);
    if (calls_++ > 0) return;
    for (int i = 0; i < kCount; ++i) keep(i, &kept_[static_cast<size_t>(i)]);
  }

  // Else the next file that is opened gets the number, and what is told goes into it.
  void leave() {
    const std::lock_guard lock(mutex_);
    --calls_;
    for (int i = 0; i < kCount; ++i) {
      const Kept& kept = kept_[static_cast<size_t>(i)];
      if (kept.copy < 0 || kept.is(i)) continue;
      if (kept.is(kept.copy)) {
        dup2(kept.copy, i);
      } else if (fcntl(i, F_GETFD) < 0) {
        static_cast<void>(open("/dev/null", O_RDWR));  // the copy was closed, too
      }
    }
  }

 private:
  static constexpr int kCount = 3, kAbove = 200;
  struct Kept {
    int copy = -1;  // there is none
    dev_t device = 0;
    ino_t inode = 0;
    bool is(int file) const {
      struct stat info = {};
      return fstat(file, &info) == 0 && info.st_dev == device && info.st_ino == inode;
    }
  };

  static void keep(int file, Kept* kept) {
    if (kept->copy >= 0 && kept->is(file) && kept->is(kept->copy)) return;
    if (kept->copy >= 0 && kept->is(kept->copy)) close(kept->copy);
    struct stat info = {};
    *kept = Kept();
    if (fstat(file, &info) != 0) return;
    *kept = {fcntl(file, F_DUPFD_CLOEXEC, kAbove), info.st_dev, info.st_ino};
  }

  std::mutex mutex_;
  int calls_ = 0;
  std::array<Kept, kCount> kept_;
};

StandardFiles& standard_files() {
  static auto* const files = new StandardFiles;
  return *files;
}

// The process has one mask, and to ask for it by a call is to change it: files that other threads
// make in between would be theirs alone.
mode_t current_umask() {
  constexpr char kKey[] = "\nUmask:";
  char status[512] = {};
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const ssize_t size = file < 0 ? -1 : read(file, status, sizeof status - 1);
  if (file >= 0) close(file);
  const char* const line = size > 0 ? std::strstr(status, kKey) : nullptr;
  if (line != nullptr) return static_cast<mode_t>(std::strtoul(line + sizeof kKey - 1, nullptr, 8));
  const mode_t mask = umask(077);
  umask(mask);
  return mask;
}

// The mask from before the first of the calls that threads are in: what a later one finds may be
// what an earlier one has set.
class Umask {
 public:
  void enter() {
    const std::lock_guard lock(mutex_);
    if (calls_++ == 0) mask_ = current_umask();
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    umask(mask_);
    --calls_;
  }

 private:
  std::mutex mutex_;
  int calls_ = 0;
  mode_t mask_ = 0;
};

Umask& process_umask() {
  static auto* const mask = new Umask;
  return *mask;
}

// A lower hard limit stays, but for those who may raise it.
void restore_limit(__rlimit_resource_t which, const rlimit& before) {
  rlimit now = {};
  if (getrlimit(which, &now) != 0) return;
  if (now.rlim_cur == before.rlim_cur && now.rlim_max == before.rlim_max) return;
  if (setrlimit(which, &before) == 0) return;
  now.rlim_cur = std::min(before.rlim_cur, now.rlim_max);
  setrlimit(which, &now);
}

void stop_timers() {
  const itimerval none = {};
  for (const auto timer : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF})
    setitimer(timer, &none, nullptr);
}

}  // namespace

ProcessState::ProcessState()
    : c_locale_(c_locale()),
      thread_locale_(uselocale(nullptr)),
      folder_(current_folder()),
      threads_(at::get_num_threads()),
      gradients_(c10::GradMode::is_enabled()),
      dtype_(c10::typeMetaToScalarType(c10::get_default_dtype())),
      errno_(errno) {
  process_umask().enter();
  standard_files().enter();
  for (size_t i = 0; i < kLimits.size(); ++i) getrlimit(kLimits[i], &limits_[i]);
  std::fegetenv(&floats_);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], nullptr, &handlers_[i]);
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked_);
}

void ProcessState::restore() const {
  std::fesetenv(&floats_);
  if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
  // A thread of the pool keeps what it was started with, or what a loop has set there.
  if (threads_ > 1 && !at::in_parallel_region())
    at::parallel_for(0, threads_, 1, [this](int64_t, int64_t) { std::fesetenv(&floats_); });
  c10::GradMode::set_enabled(gradients_);
  if (c10::typeMetaToScalarType(c10::get_default_dtype()) != dtype_)
    c10::set_default_dtype(c10::scalarTypeToTypeMeta(dtype_));
  if (std::locale() != locale_) std::locale::global(locale_);
  if (c_locale() != c_locale_) std::setlocale(LC_ALL, c_locale_.c_str());
  uselocale(thread_locale_);
  if (!folder_.empty() && current_folder() != folder_ && chdir(folder_.c_str()) != 0) {
    // Someone removed it meanwhile: there is nothing to go back to.
  }
  process_umask().leave();
  stop_timers();
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &handlers_[i], nullptr);
  for (size_t i = 0; i < kLimits.size(); ++i) restore_limit(kLimits[i], limits_[i]);
  standard_files().leave();
  pthread_sigmask(SIG_SETMASK, &blocked_, nullptr);
  errno = errno_;
}

}  // namespace swage
