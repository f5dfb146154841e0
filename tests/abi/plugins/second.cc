// A second component of the plugin `pair`, in a source file of its own and made without parameters.
#include "swage/plugin.h"

namespace {

class Second final : public swage::Evaluator {
 public:
  absl::StatusOr<swage::TokenSet> prepare(const swage::EvaluationInput&) override {
    return swage::TokenSet();
  }
  absl::Status consume(const swage::LogitsView&) override { return absl::OkStatus(); }
  absl::StatusOr<swage::Metrics> report() override { return swage::Metrics{{}, {{"second", 2.0}}}; }
};

}  // namespace

SWAGE_EVALUATOR(Second, "second");
