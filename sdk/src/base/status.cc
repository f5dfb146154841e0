#include "swage/status.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace swage {

absl::Status annotate(absl::Status status, std::string_view where) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(absl::string_view(where.data(), where.size()),
                                                     ": ", status.message()));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: this does not hold: %s (a bug of swage, please report it)\n", file,
               line, condition);
  std::abort();
}

}  // namespace swage
