#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "swage/export.h"

// Errors are absl::Status. A message says what was found, what was expected, where, and what to do.

namespace swage {

// Puts `where` ("layer 3: gptq") in front of the message of an error; an OK status passes
// unchanged. Code and payloads stay as they are.
SWAGE_API absl::Status annotate(absl::Status status, std::string_view where);

// Ends the process with the text: for bugs of our own that no input can cause.
[[noreturn]] SWAGE_API void check_failed(const char* file, int line, const char* condition);

}  // namespace swage

#define SWAGE_CHECK(condition) \
  (static_cast<bool>(condition) ? void() : ::swage::check_failed(__FILE__, __LINE__, #condition))

#define SWAGE_RETURN_IF_ERROR(expression)          \
  do {                                             \
    ::absl::Status swage_status_ = (expression);   \
    if (!swage_status_.ok()) return swage_status_; \
  } while (false)

#define SWAGE_CONCAT_INNER_(a, b) a##b
#define SWAGE_CONCAT_(a, b) SWAGE_CONCAT_INNER_(a, b)
#define SWAGE_ASSIGN_OR_RETURN_(result, left, expression) \
  auto result = (expression);                             \
  if (!result.ok()) return std::move(result).status();    \
  left = *std::move(result)
// SWAGE_ASSIGN_OR_RETURN(const Factor factor, factorize(h)): declares or assigns `left`, or returns
// the error.
#define SWAGE_ASSIGN_OR_RETURN(left, expression) \
  SWAGE_ASSIGN_OR_RETURN_(SWAGE_CONCAT_(swage_result_, __LINE__), left, expression)
