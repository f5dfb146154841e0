#include "known_parts.h"

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace swage::compressed_tensors {
namespace {

// What read_linear reads, or refuses with a reason of its own.
const std::set<std::string> kParts = {"weight",
                                      "bias",
                                      "weight_packed",
                                      "weight_shape",
                                      "weight_scale",
                                      "input_scale",
                                      "weight_g_idx",
                                      "weight_zero_point",
                                      "input_zero_point",
                                      "weight_global_scale",
                                      "input_global_scale"};

std::string parent_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

}  // namespace

absl::Status check_parts_known(const WeightSource& tensors) {
  const std::vector<std::string> names = tensors.names();
  std::set<std::string> linears, holders;  // compressed linears; the modules that they lie in
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".weight_scale") && !absl::EndsWith(name, ".weight_packed")) continue;
    linears.insert(parent_of(name));
    holders.insert(parent_of(parent_of(name)));
  }
  for (const std::string& name : names) {
    const std::string module = parent_of(name);
    const std::string part = name.substr(module.empty() ? 0 : module.size() + 1);
    const bool scale = absl::EndsWith(part, "_scale") || absl::EndsWith(part, "_zero_point");
    const bool beside = linears.count(module) > 0;
    if (kParts.count(part) > 0 || (!beside && !(scale && holders.count(module) > 0))) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        name,
        " is there, which the compressed-tensors reader does not know: what the checkpoint "
        "computes would not be what is read"));
  }
  return absl::OkStatus();
}

}  // namespace swage::compressed_tensors
