#pragma once
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace swage {

// What a call without a status of its own throws; catching() gives the status back as it is.
class StatusError : public std::runtime_error {
 public:
  explicit StatusError(absl::Status status)
      : std::runtime_error(std::string(status.message())), status_(std::move(status)) {}
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// Runs `call` and turns whatever it throws into a status, with the payload kThrownByPlugin where
// `mark` asks for it.
absl::Status catching(const std::function<absl::Status()>& call, bool mark);

}  // namespace swage
