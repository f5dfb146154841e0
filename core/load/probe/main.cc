// swage-probe FILE: opens a plugin and asks for its descriptor, so that nobody else is harmed when
// that ends a process.
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/dll/shared_library.hpp>
#include <cstdio>

#include "core/load/probe/answer.h"
#include "swage/abi.h"
#include "swage/host_fingerprint.h"

int main(int argc, char** argv) {
  namespace dll = boost::dll;
  if (argc != 2) return std::fputs("usage: swage-probe FILE\n", stderr), 2;
  try {
    const auto mode = dll::load_mode::rtld_now | dll::load_mode::rtld_local;
    static const auto* const library = new dll::shared_library(argv[1], mode);  // never closed
    if (!library->has(SWAGE_PLUGIN_SYMBOL)) {
      std::fputs("it has no symbol " SWAGE_PLUGIN_SYMBOL "; build it with swage_add_plugin()\n",
                 stderr);
      return swage::kProbeRefused;
    }
    const swage_host_info host = {sizeof host, SWAGE_ABI_MAJOR, SWAGE_ABI_MINOR,
                                  swage::host_fingerprint()};
    library->get<const swage_plugin*(const swage_host_info*)>(SWAGE_PLUGIN_SYMBOL)(&host);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), swage::kProbeRefused;
  }
  std::fflush(nullptr);
  // Past handlers that the plugin may have left.
  syscall(SYS_exit_group, swage::kProbeOpened);
}
