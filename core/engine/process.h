#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace swage {

// Figures of this process.
int64_t peak_host_bytes();     // VmHWM
int64_t current_host_bytes();  // VmRSS
double cpu_seconds();          // user and system, all threads

// `count` threads for parallel loops (0: as many as the environment and the cores say), and no
// promise that cannot be kept: code that shares work by the number it asked for computes garbage
// where OpenMP gives fewer (OMP_THREAD_LIMIT, OMP_DYNAMIC, OMP_MAX_ACTIVE_LEVELS).
// ResourceExhausted: the system gives no such number of threads.
absl::Status use_threads(int64_t count);

// Ctrl-C and SIGTERM: the first asks to stop after the block at work, a second one ends the process
// at once (exit code 130; nothing committed is lost). A bar on the terminal is cleared before
// anything is said.
void install_interrupt_handler();
void bar_is_drawn(bool drawn);
// The work folder of the run that is committed from now on: what `swage resume` continues.
void commits_go_to(const std::string& work);
// Cancelled, with the command that goes on, once the first signal has come.
absl::Status interrupted();

// "cpu", "cuda" (which is "cuda:0"), "cuda:1". For a CUDA device libtorch_cuda, which nothing
// links, is opened out of the folder of the mapped libtorch_cpu before LibTorch is asked anything
// of CUDA (it caches the answer). Errors say what is missing: the library, a dependency of it, or
// the device.
absl::StatusOr<c10::Device> open_device(const std::string& name);

}  // namespace swage
