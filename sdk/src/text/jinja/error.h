#pragma once
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace swage::text::jinja {

// Counted from 1; columns are characters.
struct Position {
  int line = 0, column = 0;
};

// What is wrong with a template or with what it does. Thrown within this folder only; template.cc
// turns it into a status.
class Error : public std::exception {
 public:
  Error(absl::StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  bool located() const { return at_.line > 0; }
  void locate(Position at) { at_ = at; }
  absl::Status status() const {
    if (!located()) return absl::Status(code_, message_);
    return absl::Status(code_, absl::StrCat(at_.line, ":", at_.column, ": ", message_));
  }

 private:
  absl::StatusCode code_;
  std::string message_;
  Position at_;
};

// Abseil was built with a string_view of its own.
template <class Part>
const Part& printable(const Part& part) {
  return part;
}
inline std::string printable(std::string_view part) { return std::string(part); }

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(absl::StatusCode::kInvalidArgument, absl::StrCat(printable(parts)...));
}

// The same with a place; errors without one get that of the expression they come from.
template <class... Parts>
[[noreturn]] void fail_at(Position at, const Parts&... parts) {
  Error error(absl::StatusCode::kInvalidArgument, absl::StrCat(printable(parts)...));
  error.locate(at);
  throw error;
}

}  // namespace swage::text::jinja
