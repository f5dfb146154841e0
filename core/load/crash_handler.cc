#include "core/load/crash_handler.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "core/base/address_space.h"
#include "core/base/exit_codes.h"
#include "swage/border.h"

namespace swage {
namespace {

// Only what is allowed in a signal handler.
void say(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

void on_crash(int signal) {
  if (address_space_was_short()) {
    say("\nerror: out of memory: the limit of the address space (ulimit -v) is used up; finished "
        "blocks are kept, `swage resume` continues\n");
    _exit(static_cast<int>(ExitCode::kResources));
  }
  const char* where = breadcrumb();
  if (*where != '\0') {
    say("\nerror: the process ends by a signal during ");
    say(where);
    say("; finished blocks are kept, `swage resume` continues\n");
  }
  raise(signal);  // SA_RESETHAND: the default action follows
}

}  // namespace

void install_crash_handler() {
  // A stack of its own, else an overflow of the normal one could not be reported.
  static char stack[16 << 10];
  stack_t alternative = {};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_RESETHAND | SA_NODEFER | SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
}

}  // namespace swage
