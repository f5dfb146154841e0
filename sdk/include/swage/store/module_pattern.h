#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "swage/export.h"

// Paths of modules, "model.layers.3.mlp.up_proj", and the regular expressions by which configs name
// them.
namespace swage::store {

SWAGE_API bool is_number(absl::string_view part);
// As a part of an expression.
SWAGE_API std::string escaped(absl::string_view part);
// The same, where a number stands for all numbers.
SWAGE_API std::string generalized(absl::string_view part);

// The list of blocks that a module belongs to, "model.layers"; "" where there is none.
SWAGE_API std::string stack_of(const std::string& name);

enum class Anchor { kStart, kAnywhere };  // Python's re.match, re.search

// Does a foreign expression match? Time and stack are bounded. InvalidArgument: what of Python's
// syntax is not understood, or more than 1024 characters.
SWAGE_API absl::StatusOr<bool> matches_expression(const std::string& expression,
                                                  const std::string& name, Anchor anchor);

// One linear, or all whose path an expression describes.
struct ModuleRule {
  std::string text;
  bool is_name = false;  // text is the name itself, since no expression keeps the sets apart
};
// What names the linears of each set and none of another, wherever a reader hangs the language
// model: "(.*\.)?layers\.\d+\.mlp\.up_proj$".
SWAGE_API std::vector<std::vector<ModuleRule>> module_rules(
    const std::vector<std::vector<std::string>>& sets);

}  // namespace swage::store
