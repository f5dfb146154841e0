#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "swage/io/gguf_header.h"

// The reader wants a file: one in memory.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const int file = memfd_create("input", 0);
  if (file < 0 || write(file, bytes, size) != static_cast<ssize_t>(size)) std::abort();
  swage::io::read_gguf("/proc/self/fd/" + std::to_string(file)).status().IgnoreError();
  close(file);
  return 0;
}
