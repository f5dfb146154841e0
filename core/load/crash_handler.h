#pragma once

namespace swage {

// When the process dies by a signal (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT), says on stderr
// which plugin was being called and in what phase, then lets the signal take its course.
void install_crash_handler();

}  // namespace swage
