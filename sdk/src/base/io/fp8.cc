#include "swage/io/fp8.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr const char* kKey = "quantization_config";
constexpr std::string_view kWeight = ".weight";  // fp8 tensors are weights of linears

bool in_fp8(const TensorInfo& info) {
  return info.type == StoredType::kF8E4M3 || info.type == StoredType::kF8E5M2;
}

// Sides of the blocks that share a scale; empty where config.json has none.
std::vector<int64_t> block_of(const Value& config) {
  const Value::List* const sides = config[kKey]["weight_block_size"].list();
  if (sides == nullptr || sides->size() != 2) return {};
  std::vector<int64_t> block;
  for (const Value& side : *sides) block.push_back(side.integer() != nullptr ? *side.integer() : 0);
  return block[0] > 0 && block[1] > 0 ? block : std::vector<int64_t>();
}

// The scale of a weight in fp8: of the names that begin like it, which follow it.
Header::const_iterator scale_behind(const Header& header, Header::const_iterator weight) {
  if (!absl::EndsWith(weight->first, ".weight")) return header.end();
  auto found = header.end();
  for (auto next = std::next(weight);
       next != header.end() && absl::StartsWith(next->first, weight->first); ++next) {
    const absl::string_view rest = absl::string_view(next->first).substr(weight->first.size());
    if (rest == "_scale_inv") return next;
    if (rest == "_scale") found = next;
  }
  return found;
}

bool scales(const std::vector<int64_t>& scale, const std::vector<int64_t>& weight,
            const std::vector<int64_t>& block) {
  const auto count = [](int64_t size, int64_t side) { return (size + side - 1) / side; };
  int64_t elements = 1;
  for (const int64_t size : scale) elements *= size;
  if (elements == 1) return true;
  if (weight.size() != 2) return false;
  if (elements == weight[0] && scale[0] == weight[0]) return true;
  return block.size() == 2 && scale.size() == 2 && scale[0] == count(weight[0], block[0]) &&
         scale[1] == count(weight[1], block[1]);
}

std::string module_of(std::string_view weight) {
  return std::string(weight.substr(0, weight.size() - kWeight.size()));
}

}  // namespace

bool is_fp8(const Value& config) {
  const std::string method = config[kKey].str("quant_method", "");
  return method == "fp8" || method == "fbgemm_fp8";
}

Value without_fp8(const Value& config) {
  Value result = config;
  result.table()->erase(kKey);
  return result;
}

StoredType float_type(const Value& config) {
  const std::string type = config.str("torch_dtype", config.str("dtype", "bfloat16"));
  if (type == "float16") return StoredType::kF16;
  return type == "float32" ? StoredType::kF32 : StoredType::kBF16;
}

std::string fp8_scale_of(const Header& header, std::string_view weight) {
  for (const char* suffix : {".weight_scale_inv", ".weight_scale"}) {
    std::string name = absl::StrCat(module_of(weight), suffix);
    if (header.count(name) > 0) return name;
  }
  return "";
}

absl::StatusOr<Header> header_in_floats(const Header& header, StoredType type) {
  Header result;
  std::set<std::string_view> gone;  // what lies ahead; names are sorted
  for (auto tensor = header.begin(); tensor != header.end(); ++tensor) {
    const auto& [name, info] = *tensor;
    if (gone.erase(name) > 0) continue;
    const auto kept = result.emplace_hint(result.end(), name, info);
    if (!in_fp8(info)) continue;
    const auto scale = scale_behind(header, tensor);
    if (scale == header.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", name,
                       " is in fp8, but there is no scale beside it (weight_scale_inv or "
                       "weight_scale)"));
    }
    kept->second.type = type;
    gone.insert(scale->first);
    // The scale of its input comes before it.
    if (kept != result.begin() &&
        std::prev(kept)->first == absl::StrCat(module_of(name), ".input_scale"))
      result.erase(std::prev(kept));
  }
  return result;
}

absl::Status check_fp8_scales(const Header& header, const Value& config) {
  const std::vector<int64_t> block = block_of(config);
  bool any = false;
  for (auto tensor = header.begin(); tensor != header.end(); ++tensor) {
    const auto& [name, info] = *tensor;
    if (!in_fp8(info)) continue;
    any = true;
    const auto scale = scale_behind(header, tensor);
    if (scale == header.end() || scales(scale->second.shape, info.shape, block)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", scale->first, " has shape [", absl::StrJoin(scale->second.shape, ", "),
        "], which is no scale of ", name, " [", absl::StrJoin(info.shape, ", "),
        "]: expected one for the tensor, one for each row, or one for each block of ",
        block.empty() ? "weight_block_size" : absl::StrJoin(block, " x ")));
  }
  if (any) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "config.json has a quantization_config (quant_method \"fp8\"), but no tensor is in fp8: the "
      "key was left over, for example by a merge; remove quantization_config from config.json");
}

}  // namespace swage::io
