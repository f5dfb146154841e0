#pragma once
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "swage/export.h"

namespace swage {

// Where a plugin is called: becomes the head of the message and the breadcrumb of a crash.
struct SWAGE_API Where {
  std::string component;  // "gptq"
  std::string phase;      // "subset_transform of block 3, attention.input"
};

// The only place that catches: runs `call`, turns c10::Error (without its backtrace), std::bad_alloc, std::exception and
// anything else into a status, and annotates every error with component and phase.
SWAGE_API absl::Status guarded(const Where& where, const std::function<absl::Status()>& call);

}  // namespace swage
