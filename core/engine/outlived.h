#pragma once
#include <memory>

namespace swage {

// Keeps what a plugin was handed for one call until the process ends. A plugin that holds on to it
// meets an object that refuses, not memory that something else has taken.
void outlive(std::shared_ptr<void> handed);

// What such an object throws from then on.
[[noreturn]] void refuse_outlived(const char* what);

}  // namespace swage
