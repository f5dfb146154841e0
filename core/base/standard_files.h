#pragma once
#include "absl/status/status.h"

namespace swage {

// Opens what is closed of descriptors 0 to 2 on /dev/null, so that no file of the program gets one
// of these numbers and then what is printed. To be called first.
void open_standard_files();
// Everything printed has reached standard output; kResources where it could not (a full disk).
absl::Status flush_standard_output();

}  // namespace swage
