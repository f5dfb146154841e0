#pragma once
#include <string>

#include "absl/status/status.h"
#include "swage/value.h"

namespace swage {

// What is wrong, problem by problem, for programs:
//   {"ok": false, "exit_code": 3,
//    "problems": [{"file": "p.toml", "line": 4, "column": 1, "message": "…"}]}
// `file`, `line` and `column` are null where a message names no place. `pipeline` is the file that
// a message may name without a line.
Value problems_value(const absl::Status& status, const std::string& pipeline);

// An error that its verb has told itself: say_error() keeps silent, the exit code stays.
absl::Status as_told(absl::Status status);

// Prints an error: on stderr line by line, each behind "error: " and with control bytes shown, or
// as JSON on stdout. Nothing where there is none.
void say_error(const absl::Status& status, bool json = false, const std::string& pipeline = "");

}  // namespace swage
