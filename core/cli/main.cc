#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/exit_codes.h"
#include "core/base/standard_files.h"
#include "core/cli/verbs.h"
#include "swage/printable.h"

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

// What no verb answers for itself.
absl::Status guarded_dispatch(int argc, char** argv) {
  try {
    return dispatch(argc, argv);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::filesystem::filesystem_error& error) {
    return with_exit_code(
        absl::UnavailableError(absl::StrCat("\"", error.path1().string(),
                                            "\" cannot be looked at: ", error.code().message())),
        ExitCode::kInput);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(error.what(), " (a bug of swage, please report it)"));
  }
}

}  // namespace
}  // namespace swage

int main(int argc, char** argv) {
  swage::open_standard_files();
  absl::Status status = swage::guarded_dispatch(argc, argv);
  if (status.ok()) status = swage::flush_standard_output();
  if (!status.ok()) {
    for (absl::string_view line : absl::StrSplit(status.message(), '\n')) {
      std::fprintf(stderr, "error: %s\n", swage::printable({line.data(), line.size()}).c_str());
    }
  }
  return swage::exit_code(status);
}
