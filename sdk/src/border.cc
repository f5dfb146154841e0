#include "swage/border.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr size_t kCrumbSize = 256;
// Worker threads of a plugin have no crumb of their own, so the latest of any thread is kept as
// well.
thread_local char own_crumb[kCrumbSize];
char latest_crumb[kCrumbSize];

class Crumb {
 public:
  explicit Crumb(const std::string& text) {
    std::memcpy(before_, own_crumb, kCrumbSize);
    set(text.c_str());
  }
  ~Crumb() { set(before_); }

 private:
  static void set(const char* text) {
    std::snprintf(own_crumb, kCrumbSize, "%s", text);
    std::snprintf(latest_crumb, kCrumbSize, "%s", text);
  }
  char before_[kCrumbSize];
};

absl::Status thrown(const std::string& text, bool mark) {
  absl::Status status = absl::InternalError(text);
  if (mark) status.SetPayload(kThrownByPlugin, absl::Cord());
  return status;
}

absl::Status of_libtorch(const c10::Error& error, bool mark) {
  const std::string text = error.what_without_backtrace();
  // Only the allocator of GPUs throws a type of its own.
  const bool memory = dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
                      absl::StrContains(text, "DefaultCPUAllocator");
  return memory ? absl::ResourceExhaustedError(absl::StrCat("out of memory: ", text))
                : thrown(absl::StrCat("LibTorch: ", text), mark);
}

absl::Status catching(const std::function<absl::Status()>& call, bool mark) {
  try {
    return call();
  } catch (const c10::Error& error) {
    return of_libtorch(error, mark);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::system_error& error) {
    // A thread that the system does not give, above all.
    const bool spent = error.code() == std::errc::resource_unavailable_try_again ||
                       error.code() == std::errc::not_enough_memory;
    const std::string text = absl::StrCat("exception: ", error.what());
    return spent ? absl::ResourceExhaustedError(absl::StrCat("out of memory or threads: ", text))
                 : thrown(text, mark);
  } catch (const std::exception& error) {
    return thrown(absl::StrCat("exception: ", error.what()), mark);
  } catch (...) {
    return thrown("an exception that is no std::exception", mark);
  }
}

}  // namespace

absl::Status guarded(const Where& where, const std::function<absl::Status()>& call) {
  if (where.component.empty()) return catching(call, false);
  const std::string text =
      where.phase.empty() ? where.component : where.component + ": " + where.phase;
  const Crumb crumb(text);
  return annotate(catching(call, true), text);
}

const char* breadcrumb() { return own_crumb[0] != '\0' ? own_crumb : latest_crumb; }

int32_t to_error(const absl::Status& status, swage_error* error) noexcept {
  if (status.ok()) return 0;
  const absl::string_view text = status.message();
  error->code = static_cast<int32_t>(status.code());
  error->message = static_cast<char*>(std::malloc(text.size() + 1));
  if (error->message != nullptr) {
    std::memcpy(error->message, text.data(), text.size());
    error->message[text.size()] = '\0';
  }
  error->release = [](swage_error* self) { std::free(self->message); };
  return error->code;
}

absl::Status from_error(int32_t code, swage_error* error) {
  if (code == 0) return absl::OkStatus();
  const absl::Status status(
      static_cast<absl::StatusCode>(code),
      error->message != nullptr ? error->message : "failed without a message, a bug of the plugin");
  if (error->release != nullptr) error->release(error);
  return status;
}

}  // namespace swage
