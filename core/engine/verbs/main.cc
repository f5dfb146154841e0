// swage-engine: the verbs that compute. `swage` starts it with its own arguments.
#include <ATen/Context.h>
#include <c10/core/GradMode.h>
#include <malloc.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/address_space.h"
#include "core/base/exit_codes.h"
#include "core/base/log.h"
#include "core/base/plain_output.h"
#include "core/base/say_error.h"
#include "core/base/standard_files.h"
#include "core/engine/process.h"
#include "core/engine/verbs/verbs.h"
#include "core/load/crash_handler.h"
#include "core/load/loader.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::Status dispatch(int argc, char** argv, Arguments* arguments) {
  SWAGE_ASSIGN_OR_RETURN(*arguments, parse_arguments(argc, argv));
  SWAGE_RETURN_IF_ERROR(use_threads(0));
  if (arguments->quiet) set_log_level(LogLevel::kWarning);
  const std::pair<const char*, absl::Status (*)(const Arguments&)> served[] = {
      {"run", run},       {"check", check},     {"resume", resume},   {"eval", eval},
      {"verify", verify}, {"convert", convert}, {"forward", forward}, {"inspect", inspect}};
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
  swage::open_standard_files();
  swage::plain_output();
  // Free memory is joined when a large piece is asked for; between the names of 90,000 tensors that
  // would happen all the time.
  mallopt(M_MXFAST, 0);
  // What one thread frees, the next block's loader takes.
  mallopt(M_ARENA_MAX, 1);
  swage::install_crash_handler();
  swage::install_interrupt_handler();
  c10::GradMode::set_enabled(false);  // what trains turns it on for itself
  signal(SIGXFSZ, SIG_IGN);  // a file above the limit of `ulimit -f` is an error like a full disk
  swage::Arguments arguments;
  absl::Status status = swage::guarded({}, [&] { return swage::dispatch(argc, argv, &arguments); });
  if (status.ok()) status = swage::flush_standard_output();
  // Libraries have texts of their own for a request of memory that was refused.
  const int told = swage::exit_code(status);
  if ((told == 1 || told == 5) && swage::address_space_was_short())
    status = swage::with_exit_code(
        absl::ResourceExhaustedError(
            absl::StrCat("out of memory: the limit of the address space (ulimit -v) is used up: ",
                         status.message())),
        swage::ExitCode::kResources);
  constexpr absl::string_view kThrown = "exception: ";  // by the host itself
  if (absl::StartsWith(status.message(), kThrown) && swage::exit_code(status) == 1)
    status = absl::InternalError(absl::StrCat(status.message().substr(kThrown.size()),
                                              " (a bug of swage, please report it)"));
  swage::say_error(status, arguments.json, arguments.pipeline);
  const absl::Status late = swage::Loader::shutdown();
  swage::say_error(late);
  const int code = swage::exit_code(status.ok() ? late : status);
  swage::settle_exit_code(code);
  std::fflush(nullptr);
  std::quick_exit(code);  // LibTorch's own destructors would take 0.15 s
}
