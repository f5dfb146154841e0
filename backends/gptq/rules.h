#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage::gptq {

// For each set of linears the expressions that match its linears, and those of no other set. Names
// under which engines join a set's linears (qkv_proj, experts) count as its linears.
std::vector<std::vector<std::string>> rule_expressions(std::vector<std::vector<std::string>> sets);

// What the rules of a `dynamic` table say of a linear that is quantized: the overrides, null where
// no rule names it. InvalidArgument: several say different things, since JSON objects have no
// order; the rules that name it keep it in floats.
absl::StatusOr<Value> find_rule(const Value& dynamic, const std::string& path,
                                const std::string& linear);

}  // namespace swage::gptq
