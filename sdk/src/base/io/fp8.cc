#include "swage/io/fp8.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr const char* kKey = "quantization_config";
constexpr std::string_view kWeight = ".weight";  // fp8 tensors are weights of linears

bool in_fp8(const TensorInfo& info) {
  return info.type == StoredType::kF8E4M3 || info.type == StoredType::kF8E5M2;
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
  Header result = header;
  for (const auto& [name, info] : header) {
    if (!in_fp8(info)) continue;
    const std::string scale =
        absl::EndsWith(name, ".weight") ? fp8_scale_of(header, name) : std::string();
    if (scale.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", name,
                       " is in fp8, but there is no scale beside it (weight_scale_inv or "
                       "weight_scale)"));
    }
    result.find(name)->second.type = type;
    result.erase(scale);
    result.erase(absl::StrCat(module_of(name), ".input_scale"));
  }
  return result;
}

}  // namespace swage::io
