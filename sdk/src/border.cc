#include "swage/border.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catching.h"

namespace swage {
namespace {

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

}  // namespace

absl::Status catching(const std::function<absl::Status()>& call, bool mark) {
  try {
    return call();
  } catch (const StatusError& error) {
    return error.status();
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
