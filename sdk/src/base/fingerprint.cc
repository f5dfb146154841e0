// LibTorch's and CUDA's versions come from the build as definitions: this library does not see
// LibTorch's headers.
#include "swage/fingerprint.h"

#include <string_view>

#include "swage/abi.h"
#include "swage/host_fingerprint.h"

namespace swage {

static_assert(std::string_view(SWAGE_INTERFACE_VERSION) == "1.0" && SWAGE_ABI_MAJOR == 1 &&
                  SWAGE_ABI_MINOR == 0,
              "fingerprint.h and abi.h name the same version");

const char* host_fingerprint() { return SWAGE_FINGERPRINT; }

}  // namespace swage
