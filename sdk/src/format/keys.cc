#include "format/keys.h"

#include "absl/strings/str_cat.h"

namespace swage::format {

bool of_inputs(const Value& keys) { return keys.has("dynamic"); }
bool is_dynamic(const Value& keys) { return keys.flag("dynamic", false); }

quant::ScalarLayout layout_of(const Value& keys, const char* default_granularity) {
  constexpr int64_t kGroup = 128;
  quant::ScalarLayout layout;
  const std::string granularity = keys.str("granularity", default_granularity);
  if (granularity == "tensor") layout.rows = 0;
  if (granularity == "group") layout.columns = keys.i64("group", kGroup);
  if (granularity == "block") {
    layout.rows = keys.i64("block_rows", kGroup);
    layout.columns = keys.i64("block_columns", kGroup);
  }
  layout.short_tail = granularity == "block" || keys.str("group_tail", "error") == "short";
  return layout;
}

std::string extent_text(const Value& keys, const char* default_granularity) {
  const std::string granularity = keys.str("granularity", default_granularity);
  const quant::ScalarLayout layout = layout_of(keys, default_granularity);
  if (granularity == "group") return absl::StrCat(" g", layout.columns);
  if (granularity == "block") return absl::StrCat(" ", layout.rows, "x", layout.columns, " blocks");
  return absl::StrCat(" per ", granularity);
}

at::ScalarType scale_type_of(const Value& keys, at::ScalarType open) {
  const std::string name = keys.str("scale_dtype", "auto");
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp16") return at::kHalf;
  return name == "fp32" ? at::kFloat : open;
}

at::ScalarType open_type_of(const Value& keys, at::ScalarType storage, bool quantized_input) {
  const bool checkpoint = keys.str("scale_dtype", "auto") == "checkpoint";
  return scale_type_of(keys, quantized_input && !checkpoint ? at::kFloat : storage);
}

at::ScalarType decoded_type_of(const Value& keys) {
  const std::string name = keys.str("decoded", "bf16");
  if (name == "fp16") return at::kHalf;
  return name == "fp32" ? at::kFloat : at::kBFloat16;
}

}  // namespace swage::format
