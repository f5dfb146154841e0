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

// Some formats store 1 + w of the w that a norm has.
std::string digest_from_one(const at::Tensor& tensor) {
  return digest_as(tensor.to(at::kFloat).add(1).sub(1), at::kFloat);
}

std::string input_of(const Result& result) {
  std::string text = result.online_transform();
  if (!result.activation()) return text;
  absl::StrAppend(&text, "|", result.activation()->codec->form());
  for (const auto& [name, level] : result.activation()->levels)
    absl::StrAppend(&text, ",", name, "=", digest_as(level, at::kFloat));
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
  if (!item.from_one.empty() && digest_from_one(read) == item.from_one) return Held::kRounded;
  return Held::kOther;
}

}  // namespace

StoredItem item_of(const Result& result, Remember what) {
  StoredItem item;
  item.name = result.name();
  item.is_linear = true;
  item.digest = digest(result);
  item.input = input_of(result);
  if (what == Remember::kBitsAndValues) set_values(decode_whole(result), &item);
  return item;
}

StoredItem item_of(const std::string& name, const at::Tensor& tensor, Remember what) {
  StoredItem item;
  item.name = name;
  item.digest = digest(tensor);
  if (what == Remember::kBits || !tensor.is_floating_point()) return item;
  set_values(tensor, &item);
  if (tensor.dim() == 1) item.from_one = digest_from_one(tensor);
  return item;
}

StoredItem item_of(const Parameter& parameter, Remember what) {
  return item_of(parameter.name, parameter.value.to(parameter.storage), what);
}

Result own_copy(const Result& result) {
  const auto cloned = [](const Parts& parts) {
    Parts copies;
    for (const auto& [name, tensor] : parts)
      copies.emplace(name, tensor.defined() ? tensor.clone() : tensor);
    return copies;
  };
  Result copy(result.name(), result.codec(), result.out(), result.in(), cloned(result.parts()));
  const auto factor = [](const std::shared_ptr<const Result>& one) {
    return one ? std::make_shared<const Result>(own_copy(*one)) : nullptr;
  };
  for (const Side& side : result.sides()) {
    copy.add_side(
        {side.kind, side.input, cloned(side.parts), factor(side.left), factor(side.right)});
  }
  if (result.mask().defined()) copy.set_mask(result.mask().clone());
  copy.set_online_transform(result.online_transform()).set_provenance(result.provenance());
  if (const auto& input = result.activation())
    copy.set_activation(ActivationQuantizer{input->codec, cloned(input->levels)});
  return copy;
}

Held compare(const StoredItem& item, const Result& read) {
  if (digest(read) == item.digest) return Held::kBits;
  if (item.values.empty()) return Held::kOther;
  const std::string input = input_of(read);
  const bool left_out = input != item.input;
  // Nothing else may have become of the input: a transform that is left out gives other values.
  if (left_out && (!input.empty() || item.input.front() != '|')) return Held::kOther;
  const Held values = compare_values(item, decode_whole(read));
  return values != Held::kOther && left_out ? Held::kFloatInputs : values;
}

Held compare(const StoredItem& item, const at::Tensor& read) {
  if (digest(read) == item.digest) return Held::kBits;
  if (!read.is_floating_point() || item.values.empty()) return Held::kOther;
  return compare_values(item, read);
}

}  // namespace swage
