#include "core/engine/side_file_digests.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/file_digest.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<Value> side_file_digests(const io::Checkpoint& checkpoint) {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint.side_files());
  Value::Table digests;
  for (const auto& [name, content] : files) digests[name] = text_digest(content);
  return Value(std::move(digests));
}

std::vector<std::string> file_differences(const Value& before, const Value& now) {
  std::vector<std::string> found;
  for (const auto& [name, digest] : *before.table()) {
    if (!now.has(name)) {
      found.push_back(absl::StrCat(name, " is missing"));
    } else if (!(now[name] == digest)) {
      found.push_back(absl::StrCat(name, " holds other bytes"));
    }
  }
  for (const auto& [name, digest] : *now.table()) {
    if (!before.has(name)) found.push_back(absl::StrCat(name, " is there"));
  }
  return found;
}

absl::Status check_side_files(const io::Checkpoint& checkpoint, const Value& before) {
  SWAGE_ASSIGN_OR_RETURN(const Value now, side_file_digests(checkpoint));
  const std::vector<std::string> found = file_differences(before, now);
  if (found.empty()) return absl::OkStatus();
  return with_exit_code(
      absl::InvalidArgumentError(absl::StrCat(
          checkpoint.path(), ": files beside the weights have changed since the run began (",
          absl::StrJoin(found, ", "),
          "); put them back as they were and `swage resume`, or start a new run with another "
          "--work")),
      ExitCode::kInput);
}

}  // namespace swage
