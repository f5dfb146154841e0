#include <stdexcept>

namespace {
const int kThrown = []() -> int { throw std::runtime_error("thrown by a static initialiser"); }();
}
