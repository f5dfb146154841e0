#pragma once
#include <chrono>

#include "core/engine/process.h"

namespace swage {

// Seconds, by the clock and of the processor, since it was made or last read.
class Stopwatch {
 public:
  struct Reading {
    double seconds = 0, cpu_seconds = 0;
  };
  Reading lap() {
    const auto now = std::chrono::steady_clock::now();
    const double cpu = cpu_seconds();
    const Reading reading = {std::chrono::duration<double>(now - clock_).count(), cpu - cpu_};
    clock_ = now;
    cpu_ = cpu;
    return reading;
  }

 private:
  std::chrono::steady_clock::time_point clock_ = std::chrono::steady_clock::now();
  double cpu_ = cpu_seconds();
};

}  // namespace swage
