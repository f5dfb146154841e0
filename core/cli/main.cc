#include <cstdio>
#include <string>

#include "absl/strings/str_split.h"
#include "core/base/exit_codes.h"
#include "core/base/standard_files.h"
#include "core/cli/verbs.h"

namespace swage {
namespace {

absl::Status dispatch(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments.ok()) return arguments.status();
  const std::string& verb = arguments->verb;
  if (verb.empty()) return std::fputs(arguments->text.c_str(), stdout), absl::OkStatus();
  if (verb == "plugins") return plugins(*arguments);
  if (verb == "help") return help(*arguments);
  if (verb == "schema") return schema(*arguments);
  return compute(*arguments, argv);
}

}  // namespace
}  // namespace swage

int main(int argc, char** argv) {
  swage::open_standard_files();
  absl::Status status = swage::dispatch(argc, argv);
  if (status.ok()) status = swage::flush_standard_output();
  if (!status.ok()) {
    for (absl::string_view line : absl::StrSplit(status.message(), '\n')) {
      std::fprintf(stderr, "error: %.*s\n", static_cast<int>(line.size()), line.data());
    }
  }
  return swage::exit_code(status);
}
