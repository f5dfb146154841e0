#include "core/engine/decoded_source.h"

#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/glob.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr std::string_view kWeight = ".weight";

class DecodedSource final : public WeightSource {
 public:
  DecodedSource(const io::Checkpoint& checkpoint, Exporter& reader,
                std::vector<std::string> linears)
      : checkpoint_(checkpoint), reader_(reader), linears_(std::move(linears)) {}

  std::vector<std::string> names() const override { return checkpoint_.weights().names(); }

  bool has(std::string_view name) const override {
    if (checkpoint_.weights().has(name)) return true;
    const auto weight = decoded(name);
    return weight.ok() && weight->defined();
  }

  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor weight, decoded(name));
    if (weight.defined()) return weight.sizes().vec();
    return checkpoint_.weights().shape(name);
  }

  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor weight, decoded(name));
    if (weight.defined()) return weight.scalar_type();
    return checkpoint_.weights().dtype(name);
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor weight, decoded(name));
    if (weight.defined()) return weight;
    return checkpoint_.weights().read(name);
  }

  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor weight, decoded(name));
    if (weight.defined()) return weight.slice(0, begin, end);
    return checkpoint_.weights().read_rows(name, begin, end);
  }

 private:
  // The decoded weight; undefined for what the checkpoint holds in floats. A loader asks for shape,
  // dtype and values of one tensor after the other, so the last one is kept.
  absl::StatusOr<at::Tensor> decoded(std::string_view name) const {
    if (!absl::EndsWith(absl::string_view(name.data(), name.size()),
                        absl::string_view(kWeight.data(), kWeight.size())))
      return at::Tensor();
    const std::lock_guard lock(mutex_);
    if (name == last_name_) return last_;
    const std::string linear(name.substr(0, name.size() - kWeight.size()));
    if (!glob_match_any(linears_, linear)) return at::Tensor();
    SWAGE_ASSIGN_OR_RETURN(const auto result, decode_linear(reader_, linear, checkpoint_));
    last_name_ = name;
    last_ = result ? decode_whole(*result).to(decoded_type(*result)) : at::Tensor();
    return last_;
  }

  const io::Checkpoint& checkpoint_;
  Exporter& reader_;
  const std::vector<std::string> linears_;
  mutable std::mutex mutex_;
  mutable std::string last_name_;
  mutable at::Tensor last_;
};

}  // namespace

absl::StatusOr<std::optional<Result>> decode_linear(Exporter& reader, const std::string& linear,
                                                    const io::Checkpoint& checkpoint,
                                                    const WeightSource* tensors) {
  std::optional<Result> result;
  const CallSite site = site_of(&reader, absl::StrCat("decode ", linear));
  SWAGE_RETURN_IF_ERROR(call_plugin(site, [&]() -> absl::Status {
    auto read = reader.decode(linear, tensors != nullptr ? *tensors : checkpoint.weights(),
                              checkpoint.config());
    if (absl::IsNotFound(read.status())) return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(annotate(read.status(), checkpoint.path()));
    result = *std::move(read);
    return absl::OkStatus();
  }));
  return result;
}

std::unique_ptr<WeightSource> decoded_source(const io::Checkpoint& checkpoint, Exporter& reader,
                                             std::vector<std::string> linears) {
  return std::make_unique<DecodedSource>(checkpoint, reader, std::move(linears));
}

}  // namespace swage
