#include "process_state.h"

#include <ATen/Parallel.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <clocale>
#include <cstring>

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

}  // namespace

ProcessState::ProcessState()
    : c_locale_(c_locale()),
      thread_locale_(uselocale(nullptr)),
      folder_(current_folder()),
      umask_(umask(077)),  // there is no other way to ask for it
      threads_(at::get_num_threads()),
      gradients_(c10::GradMode::is_enabled()),
      dtype_(c10::typeMetaToScalarType(c10::get_default_dtype())),
      errno_(errno) {
  umask(umask_);
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
  umask(umask_);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &handlers_[i], nullptr);
  pthread_sigmask(SIG_SETMASK, &blocked_, nullptr);
  errno = errno_;
}

}  // namespace swage
