#pragma once
#include "swage/export.h"

namespace swage {

// The ABI fingerprint (fingerprint.h) of libswage_base.so, and so of every host that runs with it.
SWAGE_API const char* host_fingerprint();

}  // namespace swage
