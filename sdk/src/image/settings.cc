#include "image/settings.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "swage/image/processor.h"
#include "swage/status.h"

namespace swage::image {
namespace {

// One number for all channels, or one for each.
absl::StatusOr<std::array<double, 3>> read_channels(const Value& config, const char* key,
                                                    const std::array<double, 3>& fallback) {
  const Value& value = config[key];
  if (value.is_null()) return fallback;
  std::array<double, 3> result{};
  const Value::List list = value.list() != nullptr ? *value.list() : Value::List(3, value);
  bool numbers = list.size() == 3;
  for (size_t c = 0; numbers && c < 3; ++c)
    numbers = list[c].number(&result[c]) && std::isfinite(result[c]);
  if (!numbers) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " is ", to_json(value, -1), ", expected a number or three of them"));
  }
  return result;
}

}  // namespace

Processor::~Processor() = default;

absl::Status check_picture(const at::Tensor& rgb) {
  if (rgb.defined() && rgb.device().is_cpu() && rgb.scalar_type() == at::kByte && rgb.dim() == 3 &&
      rgb.size(2) == 3) {
    return check_size(rgb.size(0), rgb.size(1), Limits{kMaxPixels});
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a picture is uint8 [height, width, 3] on the CPU, found ",
      rgb.defined() ? absl::StrCat(at::toString(rgb.scalar_type()), " [",
                                   absl::StrJoin(rgb.sizes(), ", "), "] on ", rgb.device().str())
                    : "no tensor"));
}

absl::StatusOr<int64_t> read_count(const Value& config, const char* key, int64_t fallback,
                                   int64_t least, int64_t most) {
  const int64_t count = config.i64(key, fallback);
  if (count < least || count > most) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " = ", count, ", expected ", least, " to ", most));
  }
  return count;
}

absl::StatusOr<Size> read_size(const Value& config, const char* key, Size fallback) {
  const Value& value = config[key];
  if (value.is_null()) return fallback;
  const Value::List* list = value.list();
  const bool pair = list != nullptr && list->size() == 2;
  const Value& height = pair ? (*list)[0] : value.table() != nullptr ? value["height"] : value;
  const Value& width = pair ? (*list)[1] : value.table() != nullptr ? value["width"] : value;
  const auto good = [](const Value& side) {
    return side.integer() != nullptr && *side.integer() >= 1 && *side.integer() <= kMaxSide;
  };
  if (!good(height) || !good(width)) {
    return absl::InvalidArgumentError(absl::StrCat(
        key, " is ", to_json(value, -1),
        ", expected n, [height, width] or {\"height\": n, \"width\": n}, n from 1 to ", kMaxSide));
  }
  return Size{*height.integer(), *width.integer()};
}

absl::StatusOr<Filter> read_filter(const Value& config, Filter fallback) {
  const int64_t number = config.i64("resample", fallback == Filter::kBilinear ? 2 : 3);
  if (number == 2) return Filter::kBilinear;
  if (number == 3) return Filter::kBicubic;
  return absl::InvalidArgumentError(
      absl::StrCat("resample = ", number, ", expected 2 (bilinear) or 3 (bicubic)"));
}

absl::Status check_kind(const Value& config, std::initializer_list<const char*> names) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    const std::string found = config.str(key, "");
    if (found.empty()) continue;
    std::string_view plain = found;
    for (const std::string_view ending : {"Fast", "Pil"}) {
      if (plain.size() > ending.size() && plain.substr(plain.size() - ending.size()) == ending)
        plain.remove_suffix(ending.size());
    }
    if (std::find(names.begin(), names.end(), plain) != names.end()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(key, " is \"", found, "\", expected ", absl::StrJoin(names, " or ")));
  }
  return absl::OkStatus();
}

absl::StatusOr<Values> Values::read(const Value& config, const std::array<double, 3>& mean,
                                    const std::array<double, 3>& std) {
  const bool rescale = config.flag("do_rescale", true);
  const bool normalize = config.flag("do_normalize", true);
  const double factor = config.f64("rescale_factor", 1.0 / 255.0);
  Values values;
  SWAGE_ASSIGN_OR_RETURN(values.mean_, read_channels(config, "image_mean", mean));
  SWAGE_ASSIGN_OR_RETURN(const auto deviations, read_channels(config, "image_std", std));
  for (size_t c = 0; c < 3; ++c) {
    const float center = static_cast<float>(values.mean_[c]);
    const float spread = static_cast<float>(deviations[c]);
    if (normalize && spread == 0.0f) return absl::InvalidArgumentError("image_std holds a zero");
    for (size_t byte = 0; byte < 256; ++byte) {
      float value = static_cast<float>(rescale ? static_cast<double>(byte) * factor
                                               : static_cast<double>(byte));
      if (normalize) value = (value - center) / spread;
      values.table_[c][byte] = value;
    }
  }
  return values;
}

at::Tensor Values::apply(const at::Tensor& rgb) const {
  const at::Tensor in = rgb.contiguous();
  const int64_t pixels = in.size(0) * in.size(1);
  at::Tensor out = at::empty({3, in.size(0), in.size(1)}, at::kFloat);
  const uint8_t* from = in.const_data_ptr<uint8_t>();
  float* to = out.mutable_data_ptr<float>();
  for (int64_t c = 0; c < 3; ++c) {
    const auto& table = table_[static_cast<size_t>(c)];
    for (int64_t i = 0; i < pixels; ++i) to[c * pixels + i] = table[from[3 * i + c]];
  }
  return out;
}

}  // namespace swage::image
