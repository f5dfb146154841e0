// swage-engine: the verbs that compute. `swage` starts it with its own arguments.
#include <ATen/Context.h>
#include <c10/core/GradMode.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/address_space.h"
#include "core/base/exit_codes.h"
#include "core/base/log.h"
#include "core/engine/process.h"
#include "core/engine/verbs/verbs.h"
#include "core/load/crash_handler.h"
#include "core/load/loader.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::Status dispatch(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments.ok()) return arguments.status();
  SWAGE_RETURN_IF_ERROR(use_threads(0));
  if (arguments->quiet) set_log_level(LogLevel::kWarning);
  const std::pair<const char*, absl::Status (*)(const Arguments&)> served[] = {
      {"run", run},       {"check", check},     {"resume", resume},  {"eval", eval},
      {"verify", verify}, {"forward", forward}, {"inspect", inspect}};
  for (const auto& [verb, serve] : served) {
    if (arguments->verb == verb) return serve(*arguments);
  }
  return with_exit_code(
      absl::InvalidArgumentError("swage-engine serves verbs that compute; please call swage"),
      ExitCode::kUsage);
}

}  // namespace
}  // namespace swage

int main(int argc, char** argv) {
  swage::install_crash_handler();
  swage::install_interrupt_handler();
  c10::GradMode::set_enabled(false);  // what trains turns it on for itself
  signal(SIGXFSZ, SIG_IGN);  // a file above the limit of `ulimit -f` is an error like a full disk
  absl::Status status = swage::guarded({}, [&] { return swage::dispatch(argc, argv); });
  // Libraries have texts of their own for a request of memory that was refused.
  const int code = swage::exit_code(status);
  if ((code == 1 || code == 5) && swage::address_space_was_short())
    status = swage::with_exit_code(
        absl::ResourceExhaustedError(
            absl::StrCat("out of memory: the limit of the address space (ulimit -v) is used up: ",
                         status.message())),
        swage::ExitCode::kResources);
  if (!status.ok()) {
    for (absl::string_view line : absl::StrSplit(status.message(), '\n'))
      std::fprintf(stderr, "error: %.*s\n", static_cast<int>(line.size()), line.data());
  }
  swage::Loader::shutdown();
  return swage::exit_code(status);
}
