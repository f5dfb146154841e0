#include "swage/result.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {

struct Result::Fields {
  std::string name;
  std::shared_ptr<const Codec> codec;
  int64_t out = 0, in = 0;
  Parts parts;
  std::vector<Side> sides;
  at::Tensor mask;
  std::string online_transform;
  std::optional<ActivationQuantizer> activation;
  std::string provenance;
};

namespace {

constexpr int64_t kShortIndices = 1 << 16;

int64_t index_bits(int64_t size) { return size <= kShortIndices ? 16 : 32; }

int64_t stored_bits(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) * 8 : 0;
}

// Puts what a side holds in place of the entries of `weight` that it replaces (`with_values`), or
// nothing.
void replace(const Side& side, at::Tensor& weight, bool with_values) {
  const at::Tensor& index = part(side.parts, "index");
  const at::Tensor value = with_values ? part(side.parts, "value").to(weight.scalar_type())
                                       : at::zeros({}, weight.options());
  if (side.kind == Side::Kind::kEntries)
    weight.index_put_({index.select(1, 0), index.select(1, 1)}, value);
  else
    weight.index_copy_(1, index,
                       value.dim() == 0 ? value.expand({weight.size(0), index.size(0)}) : value);
}

at::Tensor factor_of(const std::shared_ptr<const Result>& result, const at::Tensor& floats) {
  return result ? decode(*result) : floats.to(at::kFloat);
}

at::Tensor product_of(const Side& side) {
  return at::mm(factor_of(side.left, part(side.parts, "left")),
                factor_of(side.right, part(side.parts, "right")));
}

at::Tensor decode_main(const Result& result) {
  at::Tensor weight = result.codec()->decode(result.parts(), result.out(), result.in());
  if (!result.mask().defined()) return weight;
  return at::where(result.mask(), weight, at::zeros({}, weight.options()));
}

int64_t side_bits(const Side& side, const Result& result) {
  if (side.kind == Side::Kind::kLowRank) {
    return (side.left ? storage_bits(*side.left) : stored_bits(part(side.parts, "left"))) +
           (side.right ? storage_bits(*side.right) : stored_bits(part(side.parts, "right")));
  }
  const at::Tensor& index = part(side.parts, "index");
  const bool entries = side.kind == Side::Kind::kEntries;
  const int64_t each =
      entries ? index_bits(result.out()) + index_bits(result.in()) : index_bits(result.in());
  return index.size(0) * each + stored_bits(part(side.parts, "value"));
}

}  // namespace

const char* name_of(Side::Kind kind) {
  switch (kind) {
    case Side::Kind::kEntries:
      return "single outliers";
    case Side::Kind::kColumns:
      return "outlier columns";
    case Side::Kind::kLowRank:
      break;
  }
  return "a low-rank side path";
}

Result::Result() : fields_(std::make_shared<const Fields>()) {}

Result::Result(std::string name, std::shared_ptr<const Codec> codec, int64_t out, int64_t in,
               Parts parts) {
  auto fields = std::make_shared<Fields>();
  fields->name = std::move(name);
  fields->codec = std::move(codec);
  fields->out = out;
  fields->in = in;
  fields->parts = std::move(parts);
  fields_ = std::move(fields);
}

const std::string& Result::name() const { return fields_->name; }
int64_t Result::out() const { return fields_->out; }
int64_t Result::in() const { return fields_->in; }
const std::shared_ptr<const Codec>& Result::codec() const { return fields_->codec; }
const Parts& Result::parts() const { return fields_->parts; }
const std::vector<Side>& Result::sides() const { return fields_->sides; }
const at::Tensor& Result::mask() const { return fields_->mask; }
const std::string& Result::online_transform() const { return fields_->online_transform; }
const std::optional<ActivationQuantizer>& Result::activation() const { return fields_->activation; }
const std::string& Result::provenance() const { return fields_->provenance; }

// Fields of its own: other copies keep theirs.
Result::Fields& Result::change() {
  auto fields = std::make_shared<Fields>(*fields_);
  Fields& changed = *fields;
  fields_ = std::move(fields);
  return changed;
}

Result& Result::set_name(std::string name) { return change().name = std::move(name), *this; }
Result& Result::set_part(const std::string& name, at::Tensor tensor) {
  return change().parts[name] = std::move(tensor), *this;
}
Result& Result::set_mask(at::Tensor mask) { return change().mask = std::move(mask), *this; }
Result& Result::add_side(Side side) { return change().sides.push_back(std::move(side)), *this; }
Result& Result::set_online_transform(std::string text) {
  return change().online_transform = std::move(text), *this;
}
Result& Result::set_activation(std::optional<ActivationQuantizer> activation) {
  return change().activation = std::move(activation), *this;
}
Result& Result::set_provenance(std::string text) {
  return change().provenance = std::move(text), *this;
}

at::Tensor decode(const Result& result) {
  at::Tensor weight = decode_main(result);
  for (const Side& side : result.sides()) {
    if (side.kind != Side::Kind::kLowRank)
      replace(side, weight, side.input == Side::Input::kQuantized);
  }
  for (const Side& side : result.sides()) {
    if (side.kind == Side::Kind::kLowRank && side.input == Side::Input::kQuantized)
      weight = weight + product_of(side);
  }
  return weight;
}

at::Tensor decode_raw(const Result& result) {
  at::Tensor weight;
  const auto nothing = [&](const at::Tensor& like) {
    return at::zeros({result.out(), result.in()}, like.options().dtype(at::kFloat));
  };
  for (const Side& side : result.sides()) {
    if (side.input != Side::Input::kRaw || side.kind == Side::Kind::kLowRank) continue;
    if (!weight.defined()) weight = nothing(part(side.parts, "value"));
    replace(side, weight, true);
  }
  for (const Side& side : result.sides()) {
    if (side.input != Side::Input::kRaw || side.kind != Side::Kind::kLowRank) continue;
    const at::Tensor product = product_of(side);
    weight = weight.defined() ? weight + product : product;
  }
  return weight;
}

at::Tensor decode_whole(const Result& result) {
  const at::Tensor weight = decode(result), raw = decode_raw(result);
  return raw.defined() ? weight + raw : weight;
}

at::ScalarType decoded_type(const Result& result) {
  return result.codec()->decoded_type(result.parts());
}

int64_t storage_bits(const Result& result) {
  const at::Tensor& mask = result.mask();
  const int64_t weights = result.out() * result.in();
  const int64_t kept = mask.defined() ? mask.sum().item<int64_t>() : weights;
  const Codec& codec = *result.codec();
  int64_t levels = codec.level_bits(result.parts());
  // Codes of several columns are all there, and floats are levels of their own.
  const bool whole = codec.block_columns() > 1;
  if (codec.code_bits() == 0 && weights > 0)
    levels = static_cast<int64_t>(static_cast<double>(levels) / static_cast<double>(weights) *
                                  static_cast<double>(kept));
  const double codes = codec.code_bits() * static_cast<double>(whole ? weights : kept);
  int64_t bits = static_cast<int64_t>(codes + 0.5) + (mask.defined() ? weights : 0) + levels;
  for (const Side& side : result.sides()) bits += side_bits(side, result);
  return bits;
}

Result dense_result(std::string name, at::Tensor weight) {
  static const auto* const codec =
      new std::shared_ptr<const Codec>(*make_codec(Scheme{"dense", {}}));
  const int64_t out = weight.dim() == 2 ? weight.size(0) : 0;
  const int64_t in = weight.dim() == 2 ? weight.size(1) : 0;
  return Result(std::move(name), *codec, out, in, {{"weight", std::move(weight)}});
}

}  // namespace swage
