#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "swage/export.h"

namespace swage {

// Where a plugin is called, for messages and for the last words of a process that it ends.
struct SWAGE_API CallSite {
  std::string component;  // "gptq"
  std::string phase;      // "block 3"
  std::string origin;     // "step \"gptq\", plugin swage.gptq 1.0.0, /usr/lib/…/gptq.swage.so"
};

// guarded() of border.h for a component whose origin is known. Beside what that says: a returned
// error of the class Internal or Unknown counts as a fault of the plugin, too; a fault names the
// origin, the innermost one; and text of the plugin becomes printable. What a plugin changes in the
// process around it is undone when the call ends (sdk/src/process_state.h).
SWAGE_API absl::Status call_plugin(const CallSite& site, const std::function<absl::Status()>& call);

// A part of the call that this thread is in ("attention.input"): what is thrown ends here, and the
// breadcrumb names the part.
SWAGE_API absl::Status call_part(std::string_view part, const std::function<absl::Status()>& call);

// An error that is the fault of the plugin that is being called: exit code 5.
SWAGE_API absl::Status plugin_fault(std::string_view text);
// The same for an error that has been made already.
SWAGE_API absl::Status as_plugin_fault(absl::Status status);

// Is a plugin being called, on any thread? Safe in a signal handler, as is breadcrumb().
SWAGE_API bool in_plugin_call();

}  // namespace swage
