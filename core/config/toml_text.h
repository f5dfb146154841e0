#pragma once
#include <string>

namespace swage {

// What a text of the TOML parser means to who wrote the file.
std::string toml_problem(const std::string& text);

}  // namespace swage
