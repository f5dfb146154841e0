#include "swage/store/stored_module.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage::store {
namespace {

std::string shown(const StoredModule::Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

bool contains(const StoredModule::Types& types, at::ScalarType type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

}  // namespace

const StoredModule::Types& float_types() {
  static const StoredModule::Types types = {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble};
  return types;
}

absl::Status StoredModule::wrong(const char* part, const std::string& found,
                                 const std::string& expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(full(part), " is ", found, ", expected ", expected));
}

absl::StatusOr<StoredModule::Shape> StoredModule::shape(const char* part, size_t rank) const {
  if (!has(part)) return wrong(part, "missing", "a tensor by quantization_config");
  SWAGE_ASSIGN_OR_RETURN(Shape found, tensors_.shape(full(part)));
  bool fits = found.size() == rank;
  for (const int64_t side : found) fits = fits && side >= 1 && side <= kGreatestSide;
  if (fits) return found;
  return wrong(part, shown(found), absl::StrCat("a shape of ", rank, " sizes above 0"));
}

absl::StatusOr<at::Tensor> StoredModule::read(const char* part, const Types& types,
                                              const Shape& expected) const {
  if (!has(part)) return wrong(part, "missing", shown(expected));
  SWAGE_ASSIGN_OR_RETURN(const Shape found, tensors_.shape(full(part)));
  const bool scalar = found.empty() && expected == Shape{1};
  if (found != expected && !scalar) return wrong(part, shown(found), shown(expected));
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, tensors_.dtype(full(part)));
  if (!contains(types, type)) {
    const auto name = [](std::string* out, at::ScalarType t) { out->append(c10::toString(t)); };
    return wrong(part, c10::toString(type), absl::StrJoin(types, " or ", name));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, tensors_.read(full(part)));
  return tensor.reshape(expected);
}

absl::Status StoredModule::expect_absent(const char* part, const char* why) const {
  return has(part) ? wrong(part, "there", why) : absl::OkStatus();
}

bool StoredModule::holds_floats() const {
  if (!has("weight")) return false;
  const auto type = tensors_.dtype(full("weight"));
  return type.ok() && contains(float_types(), *type);
}

absl::Status StoredModule::plain(const std::string& because) const {
  if (holds_floats())
    return absl::NotFoundError(
        absl::StrCat(name_, " is not quantized: ", full("weight"), " holds floats"));
  std::string found = "missing";
  if (has("weight")) {
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, tensors_.dtype(full("weight")));
    found = c10::toString(type);
  }
  return wrong("weight", found, absl::StrCat("floats: ", because));
}

}  // namespace swage::store
