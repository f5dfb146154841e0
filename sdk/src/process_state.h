#pragma once
#include <c10/core/ScalarType.h>
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cfenv>
#include <locale>
#include <string>

namespace swage {

// What code that is called may change around itself and the rest of the process relies on: floating
// point (rounding, denormals), threads, gradients, default dtype, locale, current folder, umask,
// signals, timers, resource limits, standard files, errno.
class ProcessState {
 public:
  ProcessState();
  // As it was when the object was made, on this thread and on those of parallel loops.
  void restore() const;

 private:
  static constexpr std::array kSignals = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGABRT, SIGINT,
                                          SIGTERM, SIGXFSZ, SIGPIPE, SIGCHLD, SIGALRM};
  static constexpr std::array kLimits = {RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_AS,  RLIMIT_DATA,
                                         RLIMIT_STACK, RLIMIT_CPU,    RLIMIT_CORE};
  std::fenv_t floats_;
  std::locale locale_;
  std::string c_locale_;
  locale_t thread_locale_;
  std::string folder_;
  std::array<struct sigaction, kSignals.size()> handlers_;
  sigset_t blocked_;
  std::array<rlimit, kLimits.size()> limits_;
  int threads_;
  bool gradients_;
  c10::ScalarType dtype_;
  int errno_;
};

}  // namespace swage
