#include "core/engine/block_watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/call_site.h"
#include "swage/result.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status left(const std::string& name, const std::string& found, const std::string& expected) {
  return plugin_fault(absl::StrCat(name, " was left ", found, ", expected ", expected));
}

absl::Status check_tensor(const std::string& name, const at::Tensor& tensor,
                          const std::vector<int64_t>& shape, at::ScalarType type,
                          at::Device device) {
  if (!tensor.defined()) return left(name, "undefined", "a tensor " + text_of(shape));
  if (tensor.layout() != at::kStrided) return left(name, "sparse", "a dense tensor");
  if (tensor.sizes() != at::IntArrayRef(shape))
    return left(name, text_of(tensor.sizes().vec()), text_of(shape));
  if (tensor.scalar_type() != type)
    return left(name, c10::toString(tensor.scalar_type()), c10::toString(type));
  if (tensor.device() != device) return left(name, "on " + tensor.device().str(), device.str());
  return absl::OkStatus();
}

std::vector<const Linear*> all_of(const Subset& subset) {
  std::vector<const Linear*> all(subset.linears.begin(), subset.linears.end());
  all.insert(all.end(), subset.readers.begin(), subset.readers.end());
  return all;
}

std::string bits_of(const at::Tensor& tensor) {
  return tensor.defined() ? digest(tensor) : std::string();
}

}  // namespace

BlockWatch::Look::Look(const at::Tensor& tensor)
    : tensor(tensor.getIntrusivePtr()),
      version(tensor.defined() && !tensor.is_inference() ? tensor._version() : 0) {}

bool BlockWatch::Look::operator==(const Look& other) const {
  return tensor._unsafe_get_target() == other.tensor._unsafe_get_target() &&
         version == other.version;
}

BlockWatch::Watched BlockWatch::watch(const Linear& linear) {
  Watched watched;
  watched.linear = &linear;
  watched.name = linear.name;
  watched.kept_by = linear.kept_by;
  watched.storage = linear.storage;
  watched.has_bias = linear.bias.defined();
  watched.result = linear.result().get();
  return watched;
}

BlockWatch::Watched BlockWatch::watch(const Parameter& parameter) {
  Watched watched;
  watched.parameter = &parameter;
  watched.name = parameter.name;
  watched.storage = parameter.storage;
  return watched;
}

BlockWatch::BlockWatch(Block& block) : block_(block) {
  for (const Linear& linear : block.linears()) watched_.push_back(watch(linear));
  for (const Parameter& parameter : block.parameters()) watched_.push_back(watch(parameter));
  for (Watched& watched : watched_) {
    watched.type = watched.value().scalar_type();
    watched.shape = watched.value().sizes().vec();
    watched.device = watched.value().device();
    watched.bits = bits_of(watched.value());
    watched.bias_bits = bits_of(watched.bias());
    if (watched.result != nullptr) watched.result_bits = swage::digest(*watched.result);
    watched.seen = watched.checked = watched.look();
  }
  for (const Subset& subset : block.subsets()) subsets_.push_back(all_of(subset));
}

void BlockWatch::accept() {
  for (Watched& watched : watched_) watched.seen = watched.look();
}

bool BlockWatch::written(const std::vector<const Linear*>& ahead) {
  bool any = false;
  for (Watched& watched : watched_) {
    const bool counts = std::count(ahead.begin(), ahead.end(), watched.linear) == 0;
    std::vector<Look> now = watched.look();
    any |= counts && now != watched.seen;
    watched.seen = std::move(now);
  }
  return any;
}

void BlockWatch::emitted(const Linear& linear) {
  for (Watched& watched : watched_) {
    if (watched.linear != &linear) continue;
    watched.result = linear.result().get();
    if (watched.result != nullptr) watched.result_bits = swage::digest(*watched.result);
    watched.emitted = true;
  }
}

std::string BlockWatch::digest() const {
  std::string all;
  for (const Linear& linear : block_.linears()) {
    absl::StrAppend(&all, bits_of(linear.weight), ",", bits_of(linear.bias), ",",
                    linear.online_transform ? linear.online_transform->text() : "", ";");
  }
  for (const Parameter& parameter : block_.parameters())
    absl::StrAppend(&all, bits_of(parameter.value), ";");
  return all;
}

absl::Status BlockWatch::check_structure() const {
  const size_t count = block_.linears().size() + block_.parameters().size();
  if (count != watched_.size())
    return plugin_fault("linears or parameters were added to the block or removed");
  std::vector<std::vector<const Linear*>> now;
  for (const Subset& subset : block_.subsets()) now.push_back(all_of(subset));
  return now == subsets_ ? absl::OkStatus() : plugin_fault("the subsets of the block were changed");
}

absl::Status BlockWatch::check_form(const Watched& watched) {
  const Linear* const linear = watched.linear;
  const Parameter* const parameter = watched.parameter;
  if (linear == nullptr) {
    if (parameter->name != watched.name || parameter->storage != watched.storage)
      return plugin_fault(absl::StrCat(watched.name, ": its name or storage was changed"));
    return check_tensor(watched.name, parameter->value, watched.shape, watched.type,
                        watched.device);
  }
  if (linear->name != watched.name || linear->kept_by != watched.kept_by ||
      linear->storage != watched.storage)
    return plugin_fault(absl::StrCat(watched.name, ": its name, rule or storage was changed"));
  SWAGE_RETURN_IF_ERROR(check_tensor(watched.name + ".weight", linear->weight, watched.shape,
                                     watched.type, watched.device));
  if (linear->bias.defined() != watched.has_bias)
    return left(watched.name + ".bias", watched.has_bias ? "undefined" : "defined",
                watched.has_bias ? "a tensor" : "none, as in the checkpoint");
  if (watched.has_bias)
    SWAGE_RETURN_IF_ERROR(check_tensor(watched.name + ".bias", linear->bias, {watched.shape[0]},
                                       watched.type, watched.device));
  if (linear->clip_low.defined() != linear->clip_high.defined())
    return left(watched.name, "with one range limit", "both or none");
  if (linear->result().get() != watched.result)
    return plugin_fault(absl::StrCat(watched.name, ": its result was set past emit()"));
  return absl::OkStatus();
}

absl::Status BlockWatch::check_finite(const Watched& watched) {
  for (const at::Tensor& tensor : {watched.value(), watched.bias()}) {
    if (tensor.defined() && !tensor.isfinite().all().item<bool>())
      return left(watched.name, "with values that are not finite", "finite numbers");
  }
  return absl::OkStatus();
}

absl::Status BlockWatch::check() {
  SWAGE_RETURN_IF_ERROR(check_structure());
  for (Watched& watched : watched_) {
    SWAGE_RETURN_IF_ERROR(check_form(watched));
    std::vector<Look> now = watched.look();
    if (now == watched.checked) continue;
    SWAGE_RETURN_IF_ERROR(check_finite(watched));
    watched.checked = std::move(now);
  }
  return absl::OkStatus();
}

absl::Status BlockWatch::check_all() {
  SWAGE_RETURN_IF_ERROR(check());
  for (const Watched& watched : watched_) {
    if (watched.linear != nullptr && watched.linear->input_quantizer)
      return left(watched.name, "with an input quantizer", "none behind a training");
    if (watched.result != nullptr && swage::digest(*watched.result) != watched.result_bits)
      return plugin_fault(absl::StrCat(
          watched.name, ": its result was written into; emit() another one in its place"));
    const bool weight = bits_of(watched.value()) != watched.bits;
    if (!weight && bits_of(watched.bias()) == watched.bias_bits) continue;
    SWAGE_RETURN_IF_ERROR(check_finite(watched));
    if (!weight || watched.result == nullptr || watched.emitted) continue;
    return plugin_fault(absl::StrCat(
        watched.name, ": its weight was written after ", watched.result->provenance(),
        " had quantized it, and nothing was emitted; steps that write weights come before those "
        "that quantize them"));
  }
  return absl::OkStatus();
}

}  // namespace swage
