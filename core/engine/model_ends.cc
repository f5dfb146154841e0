#include "core/engine/model_ends.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/engine/outcome.h"
#include "core/engine/random.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr uint64_t kWholeModel = ~uint64_t{0};  // in place of a block, for random values

// A status where the interface of a plugin has room for a reference only.
template <class T>
T or_throw(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(std::string(value.status().message()));
  return *std::move(value);
}

}  // namespace

class ModelEnds::Context final : public ModelContext {
 public:
  Context(ModelEnds& ends, const PlannedStep& step, Reporter& reporter)
      : ends_(ends), step_(step), reporter_(reporter) {}
  const ModelShape& shape() const override { return ends().model_.shape(); }
  Embedding& embedding() override {
    if (!ends().embedding_) ends().embedding_ = or_throw(ends().model_.load_embedding(kLanguage));
    return *ends().embedding_;
  }
  Head& head() override {
    if (!ends().head_) ends().head_ = or_throw(ends().model_.load_head());
    return *ends().head_;
  }
  void note(std::string_view text) override {
    reporter_.note(
        absl::StrCat(step_.step->name, ": ", absl::string_view(text.data(), text.size())));
  }
  uint64_t random(uint64_t counter) const override {
    return random_value({static_cast<uint64_t>(ends().seed_), kWholeModel,
                         static_cast<uint64_t>(step_.index), counter});
  }

 private:
  ModelEnds& ends() const {
    ends_.looked_.insert(step_.index);
    return ends_;
  }
  ModelEnds& ends_;
  const PlannedStep& step_;
  Reporter& reporter_;
};

absl::Status ModelEnds::transform(const std::vector<PlannedStep>& steps, Reporter& reporter) {
  for (const PlannedStep& step : steps) {
    Context context(*this, step, reporter);
    SWAGE_RETURN_IF_ERROR(guarded({step.step->name, "model_transform"},
                                  [&] { return step.algorithm->model_transform(context); }));
  }
  if (embedding_) round_to_storage(embedding_->parameters());
  if (head_) round_to_storage(head_->parameters());
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Embedding>> ModelEnds::embedding(const std::string& tower,
                                                                bool transformed) const {
  if (tower == kLanguage && transformed && embedding_) return embedding_;
  SWAGE_ASSIGN_OR_RETURN(auto loaded, model_.load_embedding(tower));
  return std::shared_ptr<Embedding>(std::move(loaded));
}

absl::StatusOr<std::shared_ptr<Head>> ModelEnds::head(bool transformed) const {
  if (transformed && head_) return head_;
  SWAGE_ASSIGN_OR_RETURN(auto loaded, model_.load_head());
  return std::shared_ptr<Head>(std::move(loaded));
}

}  // namespace swage
