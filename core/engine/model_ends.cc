#include "core/engine/model_ends.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/engine/loaded_check.h"
#include "core/engine/outcome.h"
#include "core/engine/outlived.h"
#include "core/engine/random.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/printable.h"
#include "swage/result.h"
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

// The same names and shapes, without memory.
std::deque<Parameter> forms_of(const std::deque<Parameter>& parameters) {
  std::deque<Parameter> forms = parameters;
  for (Parameter& form : forms)
    form.value = at::zeros({}, at::kFloat).expand(form.value.sizes().vec());
  return forms;
}

}  // namespace

class ModelEnds::Context final : public ModelContext {
 public:
  Context(ModelEnds& ends, const PlannedStep& step, Reporter& reporter)
      : ends_(&ends), step_(step), reporter_(reporter) {}
  const ModelShape& shape() const override { return ends().model_.shape(); }
  Embedding& embedding() override {
    if (!ends().embedding_) {
      ends().embedding_ = or_throw(ends().embedding(kLanguage, false));
      ends().embedding_form_ = forms_of(ends().embedding_->parameters());
    }
    return *ends().embedding_;
  }
  Head& head() override {
    if (!ends().head_) {
      ends().head_ = or_throw(ends().head(false));
      ends().head_form_ = forms_of(ends().head_->parameters());
    }
    return *ends().head_;
  }
  void note(std::string_view text) override {
    if (ends_ != nullptr) reporter_.note(absl::StrCat(step_.step->name, ": ", printable(text)));
  }
  uint64_t random(uint64_t counter) const override {
    return random_value({static_cast<uint64_t>(ends().seed_), kWholeModel,
                         static_cast<uint64_t>(step_.index), counter});
  }
  void close() { ends_ = nullptr; }

 private:
  ModelEnds& ends() const {
    if (ends_ == nullptr) refuse_outlived("the context of model_transform");
    ends_->looked_.insert(step_.index);
    return *ends_;
  }
  ModelEnds* ends_;
  const PlannedStep& step_;
  Reporter& reporter_;
};

absl::Status ModelEnds::transform(const std::vector<PlannedStep>& steps, Reporter& reporter) {
  for (const PlannedStep& step : steps) {
    const auto context = std::make_shared<Context>(*this, step, reporter);
    const CallSite site = site_of(step.algorithm.get(), "model_transform");
    const absl::Status status = call_plugin(site, [&]() -> absl::Status {
      SWAGE_RETURN_IF_ERROR(step.algorithm->model_transform(*context));
      return check_parameters();
    });
    context->close();
    outlive(context);
    SWAGE_RETURN_IF_ERROR(status);
  }
  if (embedding_) round_to_storage(embedding_->parameters());
  if (head_) round_to_storage(head_->parameters());
  digest_ = digest();
  return absl::OkStatus();
}

// As they were loaded, but for values; a head that was tied may have got a matrix.
absl::Status ModelEnds::check_parameters() const {
  if (embedding_)
    SWAGE_RETURN_IF_ERROR(check_changed_parameters(embedding_form_, embedding_->parameters()));
  if (!head_) return absl::OkStatus();
  return check_changed_parameters(head_form_, head_->parameters());
}

std::string ModelEnds::digest() const {
  std::string all;
  const auto add = [&](const std::deque<Parameter>& parameters) {
    for (const Parameter& parameter : parameters) all += swage::digest(parameter.value);
  };
  if (embedding_) add(embedding_->parameters());
  if (head_) add(head_->parameters());
  return all;
}

void ModelEnds::keep(std::shared_ptr<Head> head) {
  head_ = std::move(head);
  accept();
}

absl::Status ModelEnds::check_untouched() const {
  if (digest() == digest_) return absl::OkStatus();
  return plugin_fault(
      "embedding or head was written behind model_transform, by a step that held on to it");
}

absl::StatusOr<std::shared_ptr<Embedding>> ModelEnds::embedding(const std::string& tower,
                                                                bool transformed) const {
  if (tower == kLanguage && transformed && embedding_) {
    SWAGE_RETURN_IF_ERROR(check_untouched());
    return embedding_;
  }
  SWAGE_ASSIGN_OR_RETURN(auto loaded, model_.load_embedding(tower));
  return shared_inside(std::move(loaded),
                       adapter_site(model_.adapter_name(), "destructor of the embedding"));
}

absl::StatusOr<std::shared_ptr<Head>> ModelEnds::head(bool transformed) const {
  if (transformed && head_) {
    SWAGE_RETURN_IF_ERROR(check_untouched());
    return head_;
  }
  SWAGE_ASSIGN_OR_RETURN(auto loaded, model_.load_head());
  return shared_inside(std::move(loaded),
                       adapter_site(model_.adapter_name(), "destructor of the head"));
}

}  // namespace swage
