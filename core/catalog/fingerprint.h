#pragma once
#include <string>
#include <string_view>

namespace swage {

// "" when a plugin with this fingerprint may be opened by a host with that one. Else a line per
// field that differs, with both values, and what to do. Fields that are only recorded (cxx, cuda)
// never differ.
std::string fingerprint_difference(std::string_view plugin, std::string_view host);

}  // namespace swage
