#include "core/load/crash_handler.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/base/address_space.h"
#include "core/base/exit_codes.h"
#include "swage/border.h"
#include "swage/call_site.h"

namespace swage {
namespace {

constexpr int kFault = static_cast<int>(ExitCode::kPlugin);

std::atomic<pid_t> watched{0};  // a child of a plugin's own may end as it likes
std::atomic<int> settled{-1};

// Only what is allowed in a signal handler, here and below.
void say(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

void say_number(int number) {
  char digits[12];
  char* first = digits + sizeof digits - 1;
  *first = '\0';
  const bool negative = number < 0;
  for (unsigned rest = negative ? 0U - static_cast<unsigned>(number)
                                : static_cast<unsigned>(number);
       rest > 0 || *first == '\0'; rest /= 10)
    *--first = static_cast<char>('0' + rest % 10);
  if (negative) *--first = '-';
  say(first);
}

bool is_ours() { return getpid() == watched; }

[[noreturn]] void end_by_plugin(const char* how, int number, const char* behind) {
  say("\nerror: ");
  say(in_plugin_call() ? breadcrumb() : "a plugin, outside of any call");
  say(": ");
  say(how);
  say_number(number);
  say(behind);
  say("; finished blocks are kept, `swage resume` continues\n");
  end_process(kFault);
}

void on_crash(int signal) {
  if (is_ours() && address_space_was_short()) {
    say("\nerror: out of memory: the limit of the address space (ulimit -v) is used up; finished "
        "blocks are kept, `swage resume` continues\n");
    end_process(static_cast<int>(ExitCode::kResources));
  }
  if (is_ours() && in_plugin_call())
    end_by_plugin("ends the process by signal ", signal,
                  signal == SIGSEGV ? " (a stray pointer, or no stack left)" : "");
  if (is_ours() && settled >= 0) {
    say("\nerror: a plugin's static object ends the process while it is destroyed; all work was "
        "done before\n");
    end_process(settled == 0 ? kFault : settled.load());
  }
  if (is_ours()) {
    say("\nerror: signal ");
    say_number(signal);
    say(" outside of any call of a plugin: a thread that a plugin left behind, or a bug of swage; "
        "finished blocks are kept, `swage resume` continues\n");
  }
  raise(signal);  // SA_RESETHAND: the default action follows
}

void on_exit_called(int code, void*) {
  if (!is_ours()) return;
  if (settled >= 0 && code != settled) end_process(settled);
  if (settled < 0) end_by_plugin("calls exit(", code, ")");  // nobody else would
}

void on_quick_exit() {
  if (is_ours() && settled < 0) end_by_plugin("calls quick_exit, exit code ", kFault, "");
}

}  // namespace

void install_crash_handler() {
  // A stack of its own, else an overflow of the normal one could not be reported.
  static char stack[64 << 10];
  stack_t alternative = {};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_RESETHAND | SA_NODEFER | SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
  if (watched.exchange(getpid()) != 0) return;
  on_exit(on_exit_called, nullptr);
  at_quick_exit(on_quick_exit);
}

void settle_exit_code(int code) { settled = code; }

void end_process(int code) {
  for (;;) syscall(SYS_exit_group, code);
}

}  // namespace swage

// In place of the C library's, for every library of the process; its own exit() does not come here.
extern "C" [[gnu::visibility("default")]] void _exit(int code) {
  if (swage::is_ours() && swage::settled < 0) swage::end_by_plugin("calls _exit(", code, ")");
  swage::end_process(swage::is_ours() ? swage::settled.load() : code);
}

extern "C" [[gnu::visibility("default")]] void _Exit(int code) noexcept { _exit(code); }
