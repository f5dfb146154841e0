#pragma once
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

// Ways in which code takes its process with it.
namespace ends {

inline int deeper(int depth) {
  volatile char room[4096];
  room[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : deeper(depth + 1) + room[0];
}

inline void on_thread(void (*what)()) { std::thread(what).join(); }

// Returns where `how` is none of them.
inline void end(const std::string& how) {
  if (how == "exit") std::exit(0);
  if (how == "_exit") _exit(0);
  if (how == "_Exit") std::_Exit(0);
  if (how == "quick_exit") std::quick_exit(0);
  if (how == "abort") std::abort();
  if (how == "terminate") std::terminate();
  if (how == "segv") std::raise(SIGSEGV);
  if (how == "recursion") deeper(0);
  if (how == "thread-exit") on_thread([] { std::exit(0); });
  if (how == "thread-throws") on_thread([] { throw std::runtime_error("on a thread"); });
  if (how == "thread-segv") on_thread([] { std::raise(SIGSEGV); });
  if (how == "handler") {
    std::signal(SIGSEGV, [](int) { std::exit(0); });
    std::raise(SIGSEGV);
  }
  if (how == "throw") throw std::runtime_error("thrown\nerror: \x1b[31mred");
  if (how == "int") throw 3;
}

}  // namespace ends
