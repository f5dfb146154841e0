#include "core/base/prefix.h"

#include <filesystem>

namespace swage {

std::string installation_prefix() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const bool is_libexec = folder.parent_path().filename() == "libexec";
  return (is_libexec ? folder.parent_path().parent_path() : folder.parent_path()).string();
}

}  // namespace swage
