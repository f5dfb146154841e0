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

const std::vector<ExitMeaning>& exit_meanings() {
  static const auto* const all = new std::vector<ExitMeaning>{
      {ExitCode::kOk, "done"},
      {ExitCode::kOther, "a bug of swage, or an error without a class"},
      {ExitCode::kUsage, "command line"},
      {ExitCode::kPipeline, "the pipeline file does not hold"},
      {ExitCode::kInput, "a model, tokenizer, calibration or other data file does not hold"},
      {ExitCode::kPlugin, "a plugin was refused or failed"},
      {ExitCode::kVerdictFailed,
       "not the same: an export does not decode to what the run computed, `verify` found something "
       "wrong, or `forward --compare` "
       "found more than `--tolerance`"},
      {ExitCode::kResources, "out of memory or disk space, or input/output failed"},
      {ExitCode::kInterrupted, "interrupted; `swage resume` continues"}};
  return *all;
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
