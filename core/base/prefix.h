#pragma once
#include <string>

namespace swage {

// Folder above bin/ or libexec/swage/ of the running program: the installation or the build tree.
std::string installation_prefix();

}  // namespace swage
