#pragma once
#include <string>
#include <string_view>

namespace swage {

// The word as a shell has to be given it: unchanged where nothing in it is special, else in quotes.
std::string shell_quoted(std::string_view word);

}  // namespace swage
