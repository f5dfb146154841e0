#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/plain_output.h"
#include "core/base/say_error.h"
#include "core/base/standard_files.h"
#include "core/cli/verbs.h"
#include "swage/status.h"

namespace swage {
namespace {

// A command line that cannot be read may still say how errors are to be told.
bool asks_for_json(int argc, char** argv) {
  const auto has = [&](std::string_view word) {
    return std::find(argv, argv + argc, word) != argv + argc;
  };
  return has("--json") && (has("check") || has("inspect"));
}

absl::Status dispatch(int argc, char** argv, Arguments* arguments) {
  arguments->json = asks_for_json(argc, argv);
  SWAGE_ASSIGN_OR_RETURN(*arguments, parse_arguments(argc, argv));
  const std::string& verb = arguments->verb;
  if (verb.empty()) return std::fputs(arguments->text.c_str(), stdout), absl::OkStatus();
  const std::pair<const char*, absl::Status (*)(const Arguments&)> served[] = {
      {"plugins", plugins},
      {"help", help},
      {"schema", schema},
      {"completion", completion},
      {"man", man}};
  for (const auto& [name, serve] : served) {
    if (verb == name) return serve(*arguments);
  }
  return compute(*arguments, argv);
}

// What no verb answers for itself.
absl::Status guarded_dispatch(int argc, char** argv, Arguments* arguments) {
  try {
    return dispatch(argc, argv, arguments);
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
  swage::plain_output();
  swage::Arguments arguments;
  absl::Status status = swage::guarded_dispatch(argc, argv, &arguments);
  swage::say_error(status, arguments.json, arguments.pipeline);
  if (status.ok()) {
    status = swage::flush_standard_output();
    swage::say_error(status);
  }
  return swage::exit_code(status);
}
