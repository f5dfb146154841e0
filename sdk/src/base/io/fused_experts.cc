#include "swage/io/fused_experts.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace swage::io {
namespace {

constexpr const char* kExperts = ".experts.";
constexpr const char* kGateUp = ".experts.gate_up_proj";
constexpr const char* kDown = ".experts.down_proj";

bool is_fused(const std::string& name, const TensorInfo& info) {
  return info.shape.size() == 3 && (absl::EndsWith(name, kGateUp) || absl::EndsWith(name, kDown));
}

// The matrices of a fused tensor: module name and its rows in a slice.
struct Part {
  std::string module;
  int64_t begin, end;
};
std::vector<Part> parts_of(const std::string& name, const TensorInfo& info,
                           const ExpertNames& names) {
  const int64_t rows = info.shape[1];
  if (absl::EndsWith(name, kDown)) return {{names.down, 0, rows}};
  return {{names.gate, 0, rows / 2}, {names.up, rows / 2, rows}};
}

// `path` with its module `from` as `to`; only where they differ.
std::string exchanged(const std::string& path, const std::string& from, const std::string& to) {
  const std::string inner = "." + from + ".";
  const size_t at = path.find(inner);
  if (from == to || at == std::string::npos) return path;
  return absl::StrCat(path.substr(0, at), ".", to, ".", path.substr(at + inner.size()));
}

constexpr const char* kFusedBlock = "mlp";

}  // namespace

ExpertNames expert_names(const Value& config) {
  const Value& text = config["text_config"].table() != nullptr ? config["text_config"] : config;
  bool mixtral = text.str("model_type", "") == "mixtral";
  if (const Value::List* const list = text["architectures"].list()) {
    for (const Value& item : *list)
      mixtral |= item.text() != nullptr && *item.text() == "MixtralForCausalLM";
  }
  return mixtral ? ExpertNames{"block_sparse_moe", "w1", "w3", "w2"} : ExpertNames{};
}

bool has_fused_experts(const Header& stored) {
  for (const auto& [name, info] : stored) {
    if (is_fused(name, info)) return true;
  }
  return false;
}

std::optional<FusedExpert> fused_expert(const Header& stored, std::string_view name,
                                        const ExpertNames& names) {
  const std::string text = exchanged(std::string(name), names.block, kFusedBlock);
  const size_t at = text.find(kExperts);
  if (at == std::string::npos || !absl::EndsWith(text, ".weight")) return std::nullopt;
  const size_t number = at + std::string(kExperts).size(), dot = text.find('.', number);
  int64_t expert = 0;
  if (dot == std::string::npos || !absl::SimpleAtoi(text.substr(number, dot - number), &expert))
    return std::nullopt;
  const std::string module =
      text.substr(dot + 1, text.size() - dot - 1 - std::string(".weight").size());
  for (const char* suffix : {kGateUp, kDown}) {
    const auto found = stored.find(text.substr(0, at) + suffix);
    if (found == stored.end() || !is_fused(found->first, found->second)) continue;
    for (const Part& part : parts_of(found->first, found->second, names)) {
      if (module == part.module && expert >= 0 && expert < found->second.shape[0])
        return FusedExpert{found->first, expert, part.begin, part.end};
    }
  }
  return std::nullopt;
}

std::string beside_experts(const Header& stored, std::string_view name, const ExpertNames& names) {
  const std::string text(name);
  return stored.count(text) > 0 ? text : exchanged(text, names.block, kFusedBlock);
}

Header header_by_expert(const Header& stored, const ExpertNames& names) {
  Header result;
  for (const auto& [name, info] : stored) {
    if (!is_fused(name, info)) {
      result[exchanged(name, kFusedBlock, names.block)] = info;
      continue;
    }
    const std::string experts =
        exchanged(name.substr(0, name.rfind('.') + 1), kFusedBlock, names.block);
    for (int64_t expert = 0; expert < info.shape[0]; ++expert) {
      for (const Part& part : parts_of(name, info, names)) {
        TensorInfo one = info;
        one.shape = {part.end - part.begin, info.shape[2]};
        one.begin = 0;
        one.end = one.shape[0] * one.shape[1] * byte_size(info.type);
        result[absl::StrCat(experts, expert, ".", part.module, ".weight")] = std::move(one);
      }
    }
  }
  return result;
}

}  // namespace swage::io
