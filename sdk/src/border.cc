#include "swage/border.h"

#include <c10/util/Exception.h>

#include <new>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {

absl::Status guarded(const Where& where, const std::function<absl::Status()>& call) {
  absl::Status status;
  try {
    status = call();
  } catch (const c10::Error& error) {
    status = absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    status = absl::InternalError(absl::StrCat("exception: ", error.what()));
  } catch (...) {
    status = absl::InternalError("an exception that is no std::exception");
  }
  return annotate(std::move(status), where.phase.empty() ? where.component : where.component + ": " + where.phase);
}

}  // namespace swage
