#include "core/base/say_error.h"

#include <cstdio>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/exit_codes.h"
#include "core/base/plain_output.h"
#include "swage/printable.h"

namespace swage {
namespace {

constexpr absl::string_view kTold = "swage/told";

// "file:line:column: message", as SourceLocation::text() begins a message.
Value problem(std::string text, const std::string& pipeline) {
  Value file, line, column;
  for (size_t end = text.find(": "); end != std::string::npos; end = text.find(": ", end + 1)) {
    const size_t second = end == 0 ? end : text.rfind(':', end - 1);
    const size_t first = second == std::string::npos || second == 0 ? std::string::npos
                                                                    : text.rfind(':', second - 1);
    int64_t row = 0, place = 0;
    if (first == std::string::npos || first == 0 ||
        !absl::SimpleAtoi(text.substr(first + 1, second - first - 1), &row) ||
        !absl::SimpleAtoi(text.substr(second + 1, end - second - 1), &place))
      continue;
    file = text.substr(0, first);
    line = row;
    column = place;
    text = text.substr(end + 2);
    break;
  }
  if (file.is_null() && !pipeline.empty() && absl::StartsWith(text, pipeline + ": ")) {
    file = pipeline;
    text = text.substr(pipeline.size() + 2);
  }
  return Value(Value::Table{{"file", std::move(file)},
                            {"line", std::move(line)},
                            {"column", std::move(column)},
                            {"message", std::move(text)}});
}

}  // namespace

Value problems_value(const absl::Status& status, const std::string& pipeline) {
  Value::List problems;
  if (!status.ok()) {
    for (absl::string_view line : absl::StrSplit(status.message(), '\n'))
      problems.push_back(problem(printable({line.data(), line.size()}), pipeline));
  }
  return Value(Value::Table{
      {"ok", status.ok()}, {"exit_code", exit_code(status)}, {"problems", std::move(problems)}});
}

absl::Status as_told(absl::Status status) {
  if (!status.ok()) status.SetPayload(kTold, absl::Cord("1"));
  return status;
}

void say_error(const absl::Status& status, bool json, const std::string& pipeline) {
  if (status.ok() || status.GetPayload(kTold)) return;
  if (json) return print_json(to_json(problems_value(status, pipeline)));
  for (absl::string_view line : absl::StrSplit(status.message(), '\n'))
    std::fprintf(stderr, "error: %s\n", printable({line.data(), line.size()}).c_str());
}

}  // namespace swage
