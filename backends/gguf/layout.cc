#include "layout.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/status.h"

namespace swage::gguf {
namespace {

constexpr absl::string_view kWeight = ".weight";

using Put = std::function<absl::Status(const at::Tensor&)>;

bool is_plain(uint32_t type) { return io::gguf_block(type).values == 1; }

at::ScalarType scalar_type(uint32_t type) {
  if (type == io::kGgufF16) return at::kHalf;
  return type == io::kGgufBF16 ? at::kBFloat16 : at::kFloat;
}

absl::StatusOr<uint32_t> plain_type(const std::string& name, at::ScalarType type) {
  if (type == at::kHalf) return io::kGgufF16;
  if (type == at::kBFloat16) return io::kGgufBF16;
  if (type == at::kFloat) return io::kGgufF32;
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", c10::toString(type), ", which GGUF has no place for"));
}

class Layout {
 public:
  Layout(const Stored& stored, Floats floats) : stored_(stored), floats_(floats) {}

  absl::StatusOr<std::vector<io::GgufEntry>> all(const io::GgufPlans& plans) {
    std::vector<io::GgufEntry> entries;
    for (const io::GgufPlan& plan : plans.tensors) {
      SWAGE_ASSIGN_OR_RETURN(const uint32_t type, type_of(plan));
      entries.push_back({plan.name, plan.shape, type, writer(plan, type)});
      if (type != io::kGgufNvfp4) continue;
      SWAGE_ASSIGN_OR_RETURN(io::GgufEntry factor, factor_of(plan));
      entries.push_back(std::move(factor));
    }
    return entries;
  }

 private:
  absl::StatusOr<uint32_t> type_of(const io::GgufPlan& plan) const {
    std::map<uint32_t, std::string> types;
    for (const io::GgufSource& source : plan.sources) {
      SWAGE_ASSIGN_OR_RETURN(const uint32_t type, stored_.type_of(source.name));
      types.emplace(type, source.name);
    }
    if (types.empty()) return io::kGgufF32;
    std::string compressed;
    for (const auto& [type, name] : types)
      if (!is_plain(type)) compressed = name;
    if (compressed.empty()) return float_type(plan, types);
    if (types.size() > 1)
      return absl::InvalidArgumentError(
          absl::StrCat(plan.name, " holds ", types.begin()->second, " in ",
                       io::gguf_type_name(types.begin()->first), " and ", types.rbegin()->second,
                       " in ", io::gguf_type_name(types.rbegin()->first),
                       ": llama.cpp has one tensor for them, of one type; give them one scheme"));
    if (!moves_rows(plan))
      return absl::InvalidArgumentError(absl::StrCat(
          compressed, " is compressed, and llama.cpp wants ", plan.name,
          plan.plain ? " in F32" : " with its columns elsewhere", "; let no step name it"));
    return types.begin()->first;
  }

  static bool moves_rows(const io::GgufPlan& plan) {
    bool moves = plan.transposed == 0 && plan.added == 0 && !plan.plain && plan.shape.size() > 1;
    for (const io::GgufSource& source : plan.sources) moves = moves && source.transposed == 0;
    return moves;
  }

  uint32_t float_type(const io::GgufPlan& plan,
                      const std::map<uint32_t, std::string>& types) const {
    if (plan.plain || plan.shape.size() < 2 || plan.added != 0) return io::kGgufF32;
    if (floats_ == Floats::kBf16) return io::kGgufBF16;
    if (floats_ == Floats::kF16) return io::kGgufF16;
    return floats_ == Floats::kF32 || types.size() > 1 ? io::kGgufF32 : types.begin()->first;
  }

  std::function<absl::Status(const Put&)> writer(const io::GgufPlan& plan, uint32_t type) const {
    const Stored& stored = stored_;
    return [plan, type, &stored](const Put& put) -> absl::Status {
      if (plan.sources.empty())
        return put(at::tensor(at::ArrayRef<float>(plan.values), at::kFloat));
      const auto read = [&](const std::string& name, int64_t begin, int64_t end) {
        return stored.rows(name, begin, end);
      };
      return io::each_piece(plan, read, [&](const at::Tensor& piece) -> absl::Status {
        if (!is_plain(type)) return put(piece);
        const at::Tensor values =
            (plan.added == 0 ? piece : piece + plan.added).to(scalar_type(type));
        if (type == io::kGgufF16 && !at::isfinite(values).all().item<bool>())
          return absl::InvalidArgumentError(
              absl::StrCat(plan.name, " has values beyond fp16; use floats = \"bf16\" or \"f32\""));
        return put(values);
      });
    };
  }

  // One for the matrix, or for each of those that are stacked.
  absl::StatusOr<io::GgufEntry> factor_of(const io::GgufPlan& plan) const {
    const int64_t count = plan.shape.size() == 3 ? plan.shape[0] : 1;
    const int64_t height = plan.shape[plan.shape.size() - 2];
    std::vector<float> factors(static_cast<size_t>(count), 0);
    int64_t row = 0;
    for (const io::GgufRows& rows : plan.rows) {
      const std::string& name = plan.sources[rows.source].name;
      SWAGE_ASSIGN_OR_RETURN(const float divisor,
                             stored_.divisor(std::string(absl::StripSuffix(name, kWeight))));
      float& factor = factors[static_cast<size_t>(row / height)];
      if (factor != 0 && factor != 1 / divisor)
        return absl::InvalidArgumentError(
            absl::StrCat(plan.name, " joins NVFP4 matrices of different outer scales (", name,
                         "); llama.cpp has one for them"));
      factor = 1 / divisor;
      row += rows.count;
    }
    const std::string name = absl::StrCat(absl::StripSuffix(plan.name, kWeight), ".scale");
    return io::GgufEntry{name, {count}, io::kGgufF32, [factors](const Put& put) {
                           return put(at::tensor(at::ArrayRef<float>(factors), at::kFloat));
                         }};
  }

  const Stored& stored_;
  const Floats floats_;
};

}  // namespace

absl::Status Stored::look() {
  for (const std::string& name : tensors_.names()) {
    const size_t dot = name.rfind('.');
    const std::string part = name.substr(dot + 1);
    if (part == kDivisorPart) continue;
    SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> shape, tensors_.shape(name));
    const uint32_t type = io::gguf_type_of_part(part);
    if (type == 0) {
      shapes_[name] = std::move(shape);
      continue;
    }
    const io::GgufBlock block = io::gguf_block(type);
    const std::string weight = absl::StrCat(name.substr(0, dot), kWeight);
    blocks_[weight] = {name, type};
    shapes_[weight] = {shape[0], shape[1] / block.bytes * block.values};
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Stored::type_of(const std::string& name) const {
  if (const auto found = blocks_.find(name); found != blocks_.end()) return found->second.type;
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, tensors_.dtype(name));
  return plain_type(name, type);
}

absl::StatusOr<at::Tensor> Stored::rows(const std::string& name, int64_t begin, int64_t end) const {
  if (const auto found = blocks_.find(name); found != blocks_.end()) {
    if (end < 0) return tensors_.read(found->second.tensor);
    return tensors_.read_rows(found->second.tensor, begin, end);
  }
  SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, tensors_.shape(name));
  if (shape.size() == 2 && end >= 0) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor part, tensors_.read_rows(name, begin, end));
    return part.to(at::kFloat);
  }
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor whole, tensors_.read(name));
  const int64_t width = shape.size() < 2 ? 1 : shape.back();
  const at::Tensor rows = whole.reshape({-1, width}).to(at::kFloat);
  if (end > rows.size(0))
    return absl::OutOfRangeError(
        absl::StrCat(name, " has ", rows.size(0), " rows, expected ", end));
  return end < 0 ? rows : rows.narrow(0, begin, end - begin);
}

absl::StatusOr<float> Stored::divisor(const std::string& linear) const {
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor one,
                         tensors_.read(absl::StrCat(linear, ".", kDivisorPart)));
  return one.item<float>();
}

absl::StatusOr<std::vector<io::GgufEntry>> entries_of(const io::GgufPlans& plans,
                                                      const Stored& stored, Floats floats) {
  return Layout(stored, floats).all(plans);
}

}  // namespace swage::gguf
