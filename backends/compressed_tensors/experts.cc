// What readers make of experts: transformers 5.23 and vLLM 0.33, as docs/formats.md tells.
#include "experts.h"

#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "arguments.h"
#include "swage/remark.h"

namespace swage::compressed_tensors {
namespace {

std::string scheme_of(const LinearSummary& linear) {
  if (!linear.kept_by.empty()) return "kept";
  std::string scheme = linear.weight->describe();
  if (linear.activation) absl::StrAppend(&scheme, " with ", linear.activation->describe());
  return scheme;
}

using Layers = std::map<std::string, const LinearSummary*>;  // its experts and the first of them

// One scheme for the experts of a layer: transformers computes garbage with two, or finds weights
// missing where some are kept; vLLM asks for one.
absl::Status gather(const std::vector<LinearSummary>& planned, Layers* layers) {
  for (const LinearSummary& linear : planned) {
    const std::string experts = experts_of(linear.name);
    if (experts.empty()) continue;
    const LinearSummary& first = *layers->try_emplace(experts, &linear).first->second;
    if (scheme_of(first) == scheme_of(linear)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        linear.name, " is ", scheme_of(linear), " and ", first.name, " is ", scheme_of(first),
        ": readers of compressed-tensors take one scheme for the experts of a layer; give all "
        "linears under ",
        experts, " one scheme, or keep all"));
  }
  return absl::OkStatus();
}

// A linear that no layout holds was refused before.
Arguments weight_of(const LinearSummary& linear) { return *to_arguments(*linear.weight); }

// "" or what transformers does with such experts.
std::string in_transformers(const LinearSummary& linear) {
  const Arguments weight = weight_of(linear);
  if (weight.type == "int") {
    if (weight.bits == 8 && linear.activation) return "does not load them";
    if (!weight.symmetric) return "does not load them: it knows no zero points of experts";
  }
  if (weight.strategy == "block" || (weight.is_mx() && weight.bits == 8))
    return "does not load them";
  if (weight.strategy_family() != "plain")
    return "reads their scales wrongly and computes garbage without an error";
  return linear.activation ? "leaves their activations in floats" : "";
}

// "" or what vLLM does with such experts.
std::string in_vllm(const LinearSummary& linear) {
  const Arguments weight = weight_of(linear);
  const bool channel = weight.strategy == "channel";
  if (!linear.activation) {
    const bool fits =
        weight.type == "int" ? weight.strategy != "tensor" : weight.strategy_family() != "plain";
    return fits ? "" : "refuses them";
  }
  const Arguments input = *input_arguments(*linear.activation);
  const bool per_token = input.strategy == "token";
  bool fits = weight.bits == 8 && weight.symmetric && channel && per_token && input.symmetric &&
              input.bits == 8;
  if (weight.type == "float")
    fits = weight.strategy_family() != "plain" || (channel ? per_token : !per_token);
  return fits ? "" : "refuses them";
}

void remark_on_scheme(const LinearSummary& linear) {
  const std::string transformers = in_transformers(linear), vllm = in_vllm(linear);
  std::vector<std::string> parts;
  if (!transformers.empty()) parts.push_back("transformers 5.23 " + transformers);
  if (!vllm.empty()) parts.push_back("vLLM 0.33 " + vllm);
  if (parts.empty()) return;
  const bool none = parts.size() == 2;
  remark(absl::StrCat("experts that are ", scheme_of(linear), ": ", absl::StrJoin(parts, ", "),
                      none ? "; no reader that is known computes what was measured" : ""));
}

}  // namespace

std::string experts_of(const std::string& linear) {
  constexpr char kExperts[] = ".experts.";
  const size_t at = linear.find(kExperts);
  if (at == std::string::npos) return "";
  const size_t index = at + sizeof(kExperts) - 1;
  const bool numbered = index < linear.size() && absl::ascii_isdigit(linear[index]);
  return numbered ? linear.substr(0, index - 1) : "";
}

absl::Status check_experts(const std::vector<LinearSummary>& planned) {
  Layers layers;
  const absl::Status status = gather(planned, &layers);
  if (!status.ok()) return status;
  std::map<std::string, const LinearSummary*> schemes;
  for (const auto& [experts, first] : layers) schemes.try_emplace(scheme_of(*first), first);
  for (const auto& [scheme, first] : schemes)
    if (first->kept_by.empty()) remark_on_scheme(*first);
  const bool some_kept = schemes.count("kept") > 0;
  if (schemes.size() > (some_kept ? 2 : 1)) {
    remark(absl::StrCat("experts have ", schemes.size() - (some_kept ? 1 : 0),
                        " schemes in different layers: transformers 5.23 reads all by one of them "
                        "and computes garbage without an error; vLLM 0.33 reads them"));
  } else if (some_kept && schemes.size() == 2) {
    for (const auto& [scheme, first] : schemes) {
      if (first->kept_by.empty() && first->weight->format() == "int")
        remark(absl::StrCat("experts are kept in some layers and ", scheme,
                            " in others: transformers 5.23 does not load them, vLLM 0.33 does"));
    }
  }
  return absl::OkStatus();
}

}  // namespace swage::compressed_tensors
