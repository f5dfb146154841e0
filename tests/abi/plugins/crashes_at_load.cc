#include <csignal>

namespace {
const int kCrashed = raise(SIGSEGV);
}
