#pragma once
#include <cstdint>

#include "absl/status/status.h"

namespace swage {

// The limit of `ulimit -v`, under which libraries fail in ways of their own: the dynamic linker
// ends the process, LibTorch aborts while it is loaded, others read through a null pointer.

// ResourceExhausted where the limit leaves less than `bytes`.
absl::Status check_address_space(int64_t bytes);
// Was nearly all of it in use at some time? What failed then failed for lack of memory. Safe in a
// signal handler.
bool address_space_was_short() noexcept;

}  // namespace swage
