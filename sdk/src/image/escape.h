#pragma once
#include <csetjmp>
#include <cstdio>

#include "absl/status/status.h"

namespace swage::image {

// libjpeg and libpng report an error through a function that must not return.
class Escape {
 public:
  // The status of `step`: an error when leave() ended it. `step` and what it calls hold no object
  // with a destructor, since leaving skips them.
  template <class Step>
  absl::Status run(const Step& step) {
    if (setjmp(at_) != 0) return absl::InvalidArgumentError(message_);
    step();
    return absl::OkStatus();
  }

  [[noreturn]] void leave(const char* message) {
    std::snprintf(message_, sizeof message_, "%s", message);
    std::longjmp(at_, 1);
  }

 private:
  std::jmp_buf at_;
  char message_[256] = "";
};

}  // namespace swage::image
