// LibTorch's and CUDA's versions come from the build as definitions. Its headers are read for the
// sizes of what holds tensors; nothing of LibTorch is linked.
#include "swage/fingerprint.h"

#include <string_view>

#include "swage/abi.h"
#include "swage/host_fingerprint.h"
#include "swage/layout.h"

namespace swage {

static_assert(std::string_view(SWAGE_INTERFACE_VERSION) == "1.1" && SWAGE_ABI_MAJOR == 1 &&
                  SWAGE_ABI_MINOR == 1,
              "fingerprint.h and abi.h name the same version");

const char* host_fingerprint() {
  static constexpr auto kFingerprint = detail::with_layout(SWAGE_FINGERPRINT);
  return kFingerprint.bytes;
}

}  // namespace swage
