#include "core/engine/evaluation.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/engine/process.h"
#include "core/engine/sequence_source.h"
#include "swage/border.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kPieceRows = 128;  // 25 MB of logits at 49152 tokens, 77 MB at 151936

class Input final : public EvaluationInput {
 public:
  explicit Input(const OpenedModel& model) : model_(model) {}
  const text::Tokenizer& tokenizer() const override {
    if (!tokenizer_) {
      auto made = model_.tokenizer();
      missing_ = made.status();
      if (!made.ok()) throw std::runtime_error(std::string(made.status().message()));
      tokenizer_ = *std::move(made);
    }
    return *tokenizer_;
  }
  // Why there was no tokenizer: the model's fault, although the evaluator ended by it.
  const absl::Status& missing() const { return missing_; }
  int64_t vocab_size() const override { return model_.shape().vocab_size; }
  int64_t context_length() const override { return model_.shape().context_length; }
  absl::StatusOr<std::optional<TokenSet>> documents(const std::string& source, int64_t length,
                                                    int64_t count) const override {
    text::CalibrationRequest request;
    request.source = source;
    request.length = length;
    request.samples = count;
    return read_documents(request, model_);
  }

 private:
  const OpenedModel& model_;
  mutable std::unique_ptr<text::Tokenizer> tokenizer_;
  mutable absl::Status missing_;
};

Value figures(const std::map<std::string, double>& values) {
  Value::Table table;
  for (const auto& [name, value] : values) table[name] = value;
  return Value(std::move(table));
}

at::Tensor logits_of(const Evaluation::Side& side, int64_t first, int64_t rows) {
  if (side.stream == nullptr) return {};
  return side.head->logits(side.head->normalize(side.stream->hidden.narrow(0, first, rows)))
      .to(at::kFloat);
}

}  // namespace

absl::StatusOr<Evaluation> Evaluation::prepare(const std::vector<EvaluateSpec>& specs,
                                               const OpenedModel& model, Loader& loader,
                                               int64_t micro_batch) {
  Evaluation evaluation;
  evaluation.image_token_ = model.shape().image_token;
  const Input input(model);
  for (const EvaluateSpec& spec : specs) {
    SWAGE_ASSIGN_OR_RETURN(auto evaluator, loader.evaluator(spec.use, spec.params));
    TokenSet tokens;
    const absl::Status prepared = guarded({spec.name, "prepare"}, [&] {
      auto drawn = evaluator->prepare(input);
      if (drawn.ok()) tokens = *std::move(drawn);
      return drawn.status();
    });
    if (!prepared.ok()) return input.missing().ok() ? prepared : input.missing();
    SWAGE_RETURN_IF_ERROR(annotate(check_ids(tokens, model.shape()), spec.name));
    SequenceSet sequences(std::move(tokens), micro_batch, model.options().device);
    auto set = std::find_if(evaluation.sets_.begin(), evaluation.sets_.end(), [&](const Set& set) {
      return set.sequences.digest() == sequences.digest();
    });
    if (set == evaluation.sets_.end())
      set = evaluation.sets_.insert(set, Set{std::move(sequences), {}, false});
    set->evaluators.push_back(evaluation.evaluators_.size());
    set->wants_original |= evaluator->wants_original();
    evaluation.evaluators_.push_back({&spec, std::move(evaluator)});
  }
  return evaluation;
}

absl::Status Evaluation::consume(size_t index, const std::string& adapter, const Side& original,
                                 const Side& compressed, Reporter& reporter) {
  const Set& set = sets_[index];
  const SequenceSet& sequences = set.sequences;
  int64_t start = 0;
  for (int64_t sequence = 0; sequence < sequences.sequence_count(); ++sequence) {
    const std::vector<int64_t>& ids = sequences.tokens().sequences[static_cast<size_t>(sequence)];
    const auto length = static_cast<int64_t>(ids.size());
    SWAGE_RETURN_IF_ERROR(interrupted());
    reporter.at(absl::StrCat("window ", sequence + 1, " of ", sequences.sequence_count()), 0);
    const auto pictured = [&](int64_t row) {  // a picture's place follows
      return sequences.has_inputs() && row + 1 < length &&
             ids[static_cast<size_t>(row) + 1] == image_token_;
    };
    for (int64_t first = 0, rows = 0; first < length; first += std::max<int64_t>(rows, 1)) {
      for (rows = 0; rows < kPieceRows && first + rows < length && !pictured(first + rows);) ++rows;
      if (rows == 0) continue;
      LogitsView view;
      view.sequence = sequence;
      view.first = first;
      view.targets = at::full({rows}, -1, at::kLong);
      const int64_t known = std::min(rows, length - first - 1);
      view.targets.narrow(0, 0, known).copy_(sequences.ids().narrow(0, start + first + 1, known));
      SWAGE_RETURN_IF_ERROR(guarded({adapter, "logits"}, [&] {
        view.original = logits_of(original, start + first, rows);
        view.compressed = logits_of(compressed, start + first, rows);
        return absl::OkStatus();
      }));
      for (const size_t i : set.evaluators) {
        SWAGE_RETURN_IF_ERROR(guarded({evaluators_[i].spec->name, "consume"},
                                      [&] { return evaluators_[i].evaluator->consume(view); }));
      }
    }
    start += length;
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluation::report() {
  Value::Table all;
  for (const Entry& entry : evaluators_) {
    Metrics metrics;
    SWAGE_RETURN_IF_ERROR(guarded({entry.spec->name, "report"}, [&] {
      auto reported = entry.evaluator->report();
      if (reported.ok()) metrics = *std::move(reported);
      return reported.status();
    }));
    Value::Table sides;
    if (!metrics.original.empty()) sides["original"] = figures(metrics.original);
    if (!metrics.compressed.empty()) sides["compressed"] = figures(metrics.compressed);
    all[entry.spec->name] = Value(std::move(sides));
  }
  return Value(std::move(all));
}

}  // namespace swage
