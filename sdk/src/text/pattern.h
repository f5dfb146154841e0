#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "regex.h"
#include "swage/value.h"

namespace swage::text {

// Fills finds and gaps of a text.
using Finder = std::function<absl::Status(std::string_view, std::vector<Match>*)>;

// The member "pattern" of a component: a string, {"String": …} or {"Regex": …}.
absl::StatusOr<Finder> make_finder(const Value& pattern);
// Every character for which `wanted` holds is a find of its own.
Finder find_chars(bool (*wanted)(char32_t));

}  // namespace swage::text
