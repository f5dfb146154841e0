#pragma once

namespace swage {

// When a plugin ends the process — by a signal (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, on any
// thread, with no stack left), by exit(), quick_exit() or, in programs that link with
// --export-dynamic-symbol=_exit, by _exit() — says on stderr which one, in what call, and ends with
// the exit code of plugins. Signals outside of any call take their course.
void install_crash_handler();

// From here on the process ends with `code`, whatever destructors of static objects do.
void settle_exit_code(int code);

// Ends the process at once, also during a call of a plugin. Safe in a signal handler.
[[noreturn]] void end_process(int code);

}  // namespace swage
