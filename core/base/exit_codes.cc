#include "core/base/exit_codes.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "swage/border.h"

namespace swage {
namespace {
constexpr char kPayload[] = "swage/exit";
}

absl::Status with_exit_code(absl::Status status, ExitCode code) {
  if (!status.ok() && !status.GetPayload(kPayload) && !status.GetPayload(kThrownByPlugin)) {
    status.SetPayload(kPayload, absl::Cord(absl::StrCat(static_cast<int>(code))));
  }
  return status;
}

int exit_code(const absl::Status& status) {
  int code = 0;
  if (const auto payload = status.GetPayload(kPayload);
      payload && absl::SimpleAtoi(std::string(*payload), &code)) {
    return code;
  }
  if (status.GetPayload(kThrownByPlugin)) return static_cast<int>(ExitCode::kPlugin);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return static_cast<int>(ExitCode::kOk);
    case absl::StatusCode::kCancelled:
      return static_cast<int>(ExitCode::kInterrupted);
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return static_cast<int>(ExitCode::kResources);
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return static_cast<int>(ExitCode::kInput);
    default:
      return static_cast<int>(ExitCode::kOther);
  }
}

}  // namespace swage
