// What a GGUF file is read as: which tensors of a Hugging Face checkpoint, in what form.
#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr absl::string_view kPart = "gguf_", kWeight = ".weight";

bool is_plain(uint32_t type) { return type == kGgufF32 || type == kGgufF16 || type == kGgufBF16; }

StoredType stored_type(uint32_t type) {
  return type == kGgufF32   ? StoredType::kF32
         : type == kGgufF16 ? StoredType::kF16
                            : StoredType::kBF16;
}

class Offers {
 public:
  Offers(const GgufFile& file, GgufView view) : file_(file), view_(view) {}

  absl::StatusOr<std::vector<GgufOffer>> all() {
    for (const auto& [name, tensor] : file_.tensors)
      has_blocks_ = has_blocks_ || !is_plain(tensor.type);
    for (const GgufPlan& plan : file_.plans) {
      SWAGE_RETURN_IF_ERROR(add(plan));
    }
    std::sort(offers_.begin(), offers_.end(),
              [](const GgufOffer& a, const GgufOffer& b) { return a.name < b.name; });
    for (size_t i = 1; i < offers_.size(); ++i) {
      if (offers_[i].name == offers_[i - 1].name)
        return absl::InvalidArgumentError(
            absl::StrCat("two tensors of the file would be ", offers_[i].name));
    }
    return std::move(offers_);
  }

 private:
  absl::Status add(const GgufPlan& plan) {
    std::set<uint32_t> types;
    for (const GgufSource& source : plan.sources) {
      const auto tensor = file_.tensors.find(source.name);
      if (tensor == file_.tensors.end())
        return absl::InternalError(
            absl::StrCat(plan.name, " is made of ", source.name, ", which the file does not hold"));
      types.insert(tensor->second.type);
    }
    GgufOffer offer{plan.name, plan, plan.shape, file_.storage, 0};
    if (view_ == GgufView::kBlocks && has_blocks_) {
      const bool one = types.size() == 1;
      if (one && !is_plain(*types.begin()) && moves_rows(plan)) return add_blocks(plan);
      const bool computed = plan.added != 0 || !plan.values.empty();
      offer.type = one && !computed ? stored_or_floats(*types.begin()) : StoredType::kF32;
    } else if (view_ == GgufView::kBlocks && types.size() == 1 && plan.shape.size() > 1) {
      offer.type = stored_or_floats(*types.begin());
    }
    offers_.push_back(std::move(offer));
    return absl::OkStatus();
  }

  static StoredType stored_or_floats(uint32_t type) {
    return is_plain(type) ? stored_type(type) : StoredType::kF32;
  }

  // Is it whole rows of others and nothing else, a matrix?
  static bool moves_rows(const GgufPlan& plan) {
    absl::string_view name = plan.name;
    return plan.transposed == 0 && plan.added == 0 && plan.values.empty() &&
           plan.shape.size() == 2 && absl::ConsumeSuffix(&name, kWeight) &&
           std::none_of(plan.sources.begin(), plan.sources.end(),
                        [](const GgufSource& source) { return source.transposed != 0; });
  }

  absl::Status add_blocks(const GgufPlan& plan) {
    const GgufTensor& tensor = file_.tensors.find(plan.sources[0].name)->second;
    const GgufBlock block = gguf_block(tensor.type);
    const std::string base(absl::StripSuffix(plan.name, kWeight));
    if (plan.shape[1] % block.values != 0)
      return absl::InternalError(absl::StrCat(plan.name, " has rows of ", plan.shape[1],
                                              " values in ", gguf_type_name(tensor.type)));
    offers_.push_back({absl::StrCat(base, ".", gguf_part(tensor.type)),
                       plan,
                       {plan.shape[0], plan.shape[1] / block.values * block.bytes},
                       StoredType::kU8,
                       tensor.type});
    return tensor.type == kGgufNvfp4 ? add_factor(plan, base) : absl::OkStatus();
  }

  // One for the matrix, or for each of those that are stacked.
  absl::Status add_factor(const GgufPlan& plan, const std::string& base) {
    std::set<std::pair<std::string, int64_t>> factors;
    for (const GgufRows& rows : plan.rows) {
      const GgufTensor& tensor = file_.tensors.find(plan.sources[rows.source].name)->second;
      const std::string name = absl::StrCat(absl::StripSuffix(tensor.name, kWeight), ".scale");
      const auto factor = file_.tensors.find(name);
      if (factor == file_.tensors.end()) {
        factors.insert({"", 0});
        continue;
      }
      const int64_t count = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
      if (factor->second.type != kGgufF32 || factor->second.shape != std::vector<int64_t>{count})
        return absl::InvalidArgumentError(
            absl::StrCat("tensor \"", name, "\", expected ", count, " numbers in F32"));
      const int64_t height = tensor.shape[tensor.shape.size() - 2];
      factors.insert({name, rows.begin / height});
    }
    if (factors.size() > 1)
      return absl::UnimplementedError(
          absl::StrCat(plan.name, " would be joined of NVFP4 matrices with factors of their own"));
    if (factors.begin()->first.empty()) return absl::OkStatus();
    GgufPlan of_factor;
    of_factor.name = absl::StrCat(base, ".gguf_scale");
    of_factor.shape = {1};
    of_factor.sources = {{factors.begin()->first, 0}};
    of_factor.rows = {{0, factors.begin()->second, 1}};
    offers_.push_back({of_factor.name, of_factor, {1}, StoredType::kF32, 0});
    return absl::OkStatus();
  }

  const GgufFile& file_;
  const GgufView view_;
  bool has_blocks_ = false;
  std::vector<GgufOffer> offers_;
};

}  // namespace

std::string gguf_part(uint32_t type) {
  return absl::StrCat(kPart, absl::AsciiStrToLower(gguf_type_name(type)));
}

uint32_t gguf_type_of_part(const std::string& part) {
  for (uint32_t type = 1; type <= kGgufNvfp4; ++type) {
    if (gguf_block(type).values > 1 && part == gguf_part(type)) return type;
  }
  return 0;
}

absl::StatusOr<std::vector<GgufOffer>> gguf_offers(const GgufFile& file, GgufView view) {
  return Offers(file, view).all();
}

absl::StatusOr<Value> gguf_config(const GgufFile& file, GgufView view) {
  Value config = file.config;
  SWAGE_ASSIGN_OR_RETURN(const std::vector<GgufOffer> offers, gguf_offers(file, view));
  if (std::none_of(offers.begin(), offers.end(),
                   [](const GgufOffer& offer) { return offer.blocks != 0; }))
    return config;
  Value::Table quantization = {{"quant_method", "gguf"}};
  if (const std::string* const results = file.metadata["swage.results"].text()) {
    SWAGE_ASSIGN_OR_RETURN(quantization["results"], parse_json(*results, "swage.results"));
  }
  (*config.table())["quantization_config"] = Value(std::move(quantization));
  return config;
}

}  // namespace swage::io
