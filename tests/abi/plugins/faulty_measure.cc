// Counts what it is shown, and does what `fault` names.
#include <chrono>
#include <limits>
#include <thread>

#include "absl/strings/match.h"
#include "swage/plugin.h"
#include "tests/abi/plugins/ends.h"

namespace {

using namespace swage;

class FaultyMeasure final : public Evaluator {
 public:
  explicit FaultyMeasure(const Params& params) : fault_(params.text("fault")) {}
  ~FaultyMeasure() override {
    if (absl::StartsWith(fault_, "destructor:")) ends::end(fault_.substr(11));
  }

  absl::StatusOr<TokenSet> prepare(const EvaluationInput& input) override {
    if (absl::StartsWith(fault_, "prepare:")) ends::end(fault_.substr(8));
    held_ = &input;
    TokenSet tokens;
    if (fault_ == "no sequence") return tokens;
    const int64_t count = fault_ == "slow" ? 200 : 3;
    for (int64_t i = 0; i < count; ++i)
      tokens.sequences.push_back({1, 2, 3 + i % 200, 4, 5, 6, 7, 8});
    if (fault_ == "empty sequence") tokens.sequences[1].clear();
    if (fault_ == "ids beyond") tokens.sequences[2][4] = input.vocab_size();
    if (fault_ == "negative id") tokens.sequences[0][0] = -1;
    if (fault_ == "inputs of fewer") tokens.inputs.resize(1);
    return tokens;
  }
  bool wants_original() const override {
    if (absl::StartsWith(fault_, "wants_original:")) ends::end(fault_.substr(15));
    return true;
  }
  absl::Status consume(const LogitsView& view) override {
    if (absl::StartsWith(fault_, "consume:")) ends::end(fault_.substr(8));
    if (fault_ == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (fault_ == "spoils") {
      const_cast<at::Tensor&>(view.original).fill_(0);
      view.compressed.mul_(-1);
      view.targets.fill_(0);
    }
    rows_ += view.targets.size(0);
    return absl::OkStatus();
  }
  absl::StatusOr<Metrics> report() override {
    if (absl::StartsWith(fault_, "report:")) ends::end(fault_.substr(7));
    Metrics metrics;
    metrics.compressed["rows"] = static_cast<double>(rows_);
    if (fault_ == "nan") metrics.compressed["rows"] = std::nan("");
    if (fault_ == "empty name") metrics.compressed[""] = 1;
    if (fault_ == "escapes") metrics.original["\x1b[2J\nrows"] = 1;
    if (fault_ == "long name") metrics.original[std::string(5000, 'x')] = 1;
    if (fault_ == "no utf-8") metrics.original["\xff\xfe"] = 1;
    if (fault_ == "holds the input") metrics.original["vocabulary"] = double(held_->vocab_size());
    return metrics;
  }

 private:
  const std::string fault_;
  const EvaluationInput* held_ = nullptr;
  int64_t rows_ = 0;
};

}  // namespace

SWAGE_EVALUATOR(FaultyMeasure, "faulty-measure");
