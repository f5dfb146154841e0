#pragma once
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "swage/abi.h"
#include "swage/export.h"

namespace swage {

// Where a plugin is called: becomes the head of the message and the breadcrumb of a crash.
struct SWAGE_API Where {
  std::string component;  // "gptq"
  std::string phase;      // "subset_transform of block 3, attention.input"
};

// The only place that catches: runs `call`, turns c10::Error (without its backtrace),
// std::bad_alloc, std::exception and anything else into a status, and annotates every error with
// component and phase. A caught exception leaves the payload kThrownByPlugin. While `call` runs,
// breadcrumb() tells where we are. An empty component adds and marks nothing.
SWAGE_API absl::Status guarded(const Where& where, const std::function<absl::Status()>& call);

inline constexpr char kThrownByPlugin[] = "swage.thrown-by-plugin";

// "gptq: subset_transform of block 3" while this thread is in guarded(), else of the call that any
// thread entered last;
// "" when there is none. Safe in a signal handler.
SWAGE_API const char* breadcrumb();

// A status as it crosses the C handshake: fills `error` and returns its code, and back.
// from_error() releases `error`.
SWAGE_API int32_t to_error(const absl::Status& status, swage_error* error) noexcept;
SWAGE_API absl::Status from_error(int32_t code, swage_error* error);

}  // namespace swage
