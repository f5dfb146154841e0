// In swage-probe: says so in every open descriptor, and leaves a process that keeps them.
#include <unistd.h>

#include <cstring>

namespace {

int talk() {
  char program[4096] = {};
  const ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
  if (size <= 0 || std::strstr(program, "swage-probe") == nullptr) return 0;
  for (int file = 0; file < 1024; ++file) {
    const ssize_t ignored = write(file, "talks\n", 6);
    static_cast<void>(ignored);
  }
  if (fork() == 0) {
    sleep(600);
    _exit(0);
  }
  return 0;
}

[[maybe_unused]] const int talked = talk();

}  // namespace
