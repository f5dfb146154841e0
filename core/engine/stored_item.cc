#include "core/engine/stored_item.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

constexpr int64_t kChunk = int64_t{1} << 24;  // values converted at a time: an embedding is large

// Digest of shape and values as `type` holds them.
std::string digest_as(const at::Tensor& tensor, at::ScalarType type) {
  std::string all;
  for (const int64_t side : tensor.sizes()) absl::StrAppend(&all, side, "x");
  const at::Tensor flat = tensor.contiguous().view({-1});
  for (int64_t begin = 0; begin < flat.numel(); begin += kChunk) {
    const int64_t end = std::min(flat.numel(), begin + kChunk);
    absl::StrAppend(&all, ":", digest(flat.slice(0, begin, end).to(type)));
  }
  const auto size = static_cast<int64_t>(all.size());
  return digest(at::from_blob(all.data(), {size}, at::kByte).clone());
}

std::string input_of(const CompressedLinear& linear) {
  std::string text = linear.online_transform;
  if (!linear.activation) return text;
  const auto& [scheme, scale, zero] = *linear.activation;
  absl::StrAppend(&text, "|", static_cast<int>(scheme.format), ",", scheme.bits, ",",
                  scheme.symmetric, ",", static_cast<int>(scheme.granularity), ",", scheme.dynamic);
  for (const at::Tensor& part : {scale, zero})
    absl::StrAppend(&text, ",", part.defined() ? digest_as(part, at::kFloat) : "");
  return text;
}

void set_values(const at::Tensor& tensor, StoredItem* item) {
  item->values = digest_as(tensor, at::kFloat);
  item->as_bfloat16 = digest_as(tensor, at::kBFloat16);
  item->as_half = digest_as(tensor, at::kHalf);
}

Held compare_values(const StoredItem& item, const at::Tensor& read) {
  if (digest_as(read, at::kFloat) == item.values) return Held::kBits;
  // Rounded values are the same again when they are rounded again; others lie between.
  for (const auto& [type, known] :
       {std::pair(at::kBFloat16, &item.as_bfloat16), std::pair(at::kHalf, &item.as_half)}) {
    if (read.to(type).to(at::kFloat).equal(read.to(at::kFloat)) && digest_as(read, type) == *known)
      return Held::kRounded;
  }
  return Held::kOther;
}

}  // namespace

StoredItem item_of(const CompressedLinear& result) {
  StoredItem item;
  item.name = result.name;
  item.is_linear = true;
  item.digest = digest(result);
  item.input = input_of(result);
  set_values(decode(result), &item);
  return item;
}

StoredItem item_of(const std::string& name, const at::Tensor& tensor) {
  StoredItem item;
  item.name = name;
  item.digest = digest(tensor);
  if (tensor.is_floating_point()) set_values(tensor, &item);
  return item;
}

StoredItem item_of(const Parameter& parameter) {
  return item_of(parameter.name, parameter.value.to(parameter.storage));
}

CompressedLinear own_copy(const CompressedLinear& result) {
  CompressedLinear copy = result;
  std::vector<at::Tensor*> parts = {&copy.codes,         &copy.scales,        &copy.zeros,
                                    &copy.g_idx,         &copy.mask,          &copy.outlier_index,
                                    &copy.outlier_value, &copy.low_rank_left, &copy.low_rank_right,
                                    &copy.codebook};
  if (copy.activation) {
    parts.push_back(&copy.activation->scale);
    parts.push_back(&copy.activation->zero);
  }
  for (at::Tensor* part : parts) {
    if (part->defined()) *part = part->clone();
  }
  return copy;
}

Held compare(const StoredItem& item, const CompressedLinear& read) {
  if (digest(read) == item.digest) return Held::kBits;
  const std::string input = input_of(read);
  const bool left_out = input != item.input;
  // Nothing else may have become of the input: a transform that is left out gives other values.
  if (left_out && (!input.empty() || item.input.front() != '|')) return Held::kOther;
  const Held values = compare_values(item, decode(read));
  return values != Held::kOther && left_out ? Held::kFloatInputs : values;
}

Held compare(const StoredItem& item, const at::Tensor& read) {
  if (digest(read) == item.digest) return Held::kBits;
  if (!read.is_floating_point() || item.values.empty()) return Held::kOther;
  return compare_values(item, read);
}

}  // namespace swage
