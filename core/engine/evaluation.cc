#include "core/engine/evaluation.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/loaded_check.h"
#include "core/engine/outlived.h"
#include "core/engine/placeholders.h"
#include "core/engine/process.h"
#include "core/engine/sequence_source.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/printable.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kPieceRows = 128;  // 25 MB of logits at 49152 tokens, 77 MB at 151936

class Input final : public EvaluationInput {
 public:
  explicit Input(const OpenedModel& model) : model_(&model) {}
  void close() { model_ = nullptr; }
  const text::Tokenizer& tokenizer() const override {
    if (!tokenizer_) {
      auto made = model().tokenizer();
      missing_ = made.status();
      if (!made.ok()) throw std::runtime_error(std::string(made.status().message()));
      tokenizer_ = *std::move(made);
    }
    return *tokenizer_;
  }
  // Why there was no tokenizer: the model's fault, although the evaluator ended by it.
  const absl::Status& missing() const { return missing_; }
  int64_t vocab_size() const override { return model().shape().vocab_size; }
  int64_t context_length() const override { return model().shape().context_length; }
  absl::StatusOr<std::optional<TokenSet>> documents(const std::string& source, int64_t length,
                                                    int64_t count) const override {
    text::CalibrationRequest request;
    request.source = source;
    request.length = length;
    request.samples = count;
    notes_ = SourceNotes();
    return read_documents(request, model(), &notes_);
  }
  // Of the source that documents() read last.
  SourceNotes take_notes() const { return std::exchange(notes_, SourceNotes()); }

 private:
  const OpenedModel& model() const {
    if (model_ == nullptr) refuse_outlived("the input of prepare()");
    return *model_;
  }
  const OpenedModel* model_;
  mutable std::unique_ptr<text::Tokenizer> tokenizer_;
  mutable absl::Status missing_;
  mutable SourceNotes notes_;
};

absl::Status check_tokens(const TokenSet& tokens) {
  if (!tokens.inputs.empty() && tokens.inputs.size() != tokens.sequences.size())
    return plugin_fault(absl::StrCat("prepare() gives ", tokens.sequences.size(),
                                     " sequences and inputs of ", tokens.inputs.size()));
  for (const std::vector<int64_t>& sequence : tokens.sequences) {
    if (sequence.empty()) return plugin_fault("prepare() gives a sequence without tokens");
  }
  if (tokens.sequences.empty()) return plugin_fault("prepare() gives no sequence");
  return absl::OkStatus();
}

// A name that tables, JSON and shells take, and a number.
absl::Status check_figures(const std::map<std::string, double>& figures) {
  constexpr size_t kLongest = 80, kMost = 1000;
  if (figures.size() > kMost)
    return plugin_fault(absl::StrCat("report() gives ", figures.size(), " figures"));
  for (const auto& [name, value] : figures) {
    if (name.empty() || name.size() > kLongest || printable(name) != name)
      return plugin_fault(absl::StrCat("report() names a figure \"", name.substr(0, kLongest),
                                       "\"; a name is one line of 1 to ", kLongest, " bytes"));
    if (std::isnan(value))
      return plugin_fault(absl::StrCat("report() gives \"", name, "\" that is not a number"));
  }
  return absl::OkStatus();
}

// An evaluator says what it asks for by parameters of the usual names (text::window_request).
DrawnData asked_by(const EvaluateSpec& spec, SourceNotes notes) {
  const Value& params = spec.params.values();
  DrawnData drawn;
  drawn.name = spec.name;
  if (const std::string* source = params["source"].text()) drawn.source = *source;
  if (const int64_t* windows = params["windows"].integer()) drawn.asked_windows = *windows;
  if (const int64_t* length = params["length"].integer()) drawn.asked_length = *length;
  drawn.kind = std::move(notes.kind);
  drawn.remarks = std::move(notes.remarks);
  return drawn;
}

Value figures(const std::map<std::string, double>& values) {
  Value::Table table;
  for (const auto& [name, value] : values) table[name] = value;
  return Value(std::move(table));
}

// With a copy of the states, which the head may work in.
absl::StatusOr<at::Tensor> logits_of(const Evaluation::Side& side, int64_t first, int64_t rows,
                                     int64_t vocabulary) {
  if (side.stream == nullptr) return at::Tensor();
  const at::Tensor hidden = side.stream->hidden.narrow(0, first, rows).clone();
  const at::Tensor logits = side.head->logits(side.head->normalize(hidden));
  SWAGE_RETURN_IF_ERROR(check_rows("logits", logits, rows, vocabulary));
  return logits.to(at::kFloat);
}

at::Tensor own_copy(const at::Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; }

}  // namespace

absl::StatusOr<Evaluation> Evaluation::prepare(const std::vector<EvaluateSpec>& specs,
                                               const OpenedModel& model, Loader& loader,
                                               int64_t micro_batch) {
  Evaluation evaluation;
  evaluation.image_token_ = model.shape().image_token;
  evaluation.vocabulary_ = model.shape().vocab_size;
  const auto kept = std::make_shared<Input>(model);
  outlive(kept);
  Input& input = *kept;
  for (const EvaluateSpec& spec : specs) {
    SWAGE_ASSIGN_OR_RETURN(
        auto evaluator,
        loader.evaluator(spec.use, spec.params, absl::StrCat("evaluation \"", spec.name, "\"")));
    TokenSet tokens;
    bool wants_original = false;
    // Ids of a source are the source's, made with another tokenizer; others are the evaluator's
    // own.
    const bool has_source = Value(spec.params.values())["source"].text() != nullptr;
    const absl::Status prepared = call_plugin(site_of(evaluator.get(), "prepare"), [&]() {
      auto drawn = evaluator->prepare(input);
      if (!drawn.ok()) return drawn.status();
      tokens = *std::move(drawn);
      wants_original = evaluator->wants_original();
      SWAGE_RETURN_IF_ERROR(check_tokens(tokens));
      if (has_source) return absl::OkStatus();
      return as_plugin_fault(
          annotate(check_ids(tokens, model.shape()), "prepare() gives ids that are none"));
    });
    if (!prepared.ok()) return input.missing().ok() ? prepared : input.missing();
    SWAGE_RETURN_IF_ERROR(annotate(check_ids(tokens, model.shape()), spec.name));
    DrawnData drawn = asked_by(spec, input.take_notes());
    SWAGE_RETURN_IF_ERROR(
        check_placeholders(tokens, model, drawn.source.empty() ? spec.name : drawn.source));
    SequenceSet sequences(std::move(tokens), micro_batch, model.options().device);
    drawn.count(sequences, model.shape());
    evaluation.drawn_.push_back(std::move(drawn));
    auto set = std::find_if(evaluation.sets_.begin(), evaluation.sets_.end(), [&](const Set& set) {
      return set.sequences.digest() == sequences.digest();
    });
    if (set == evaluation.sets_.end())
      set = evaluation.sets_.insert(set, Set{std::move(sequences), {}, false});
    set->evaluators.push_back(evaluation.evaluators_.size());
    set->wants_original |= wants_original;
    evaluation.evaluators_.push_back({&spec, std::move(evaluator)});
  }
  input.close();
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
      SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(adapter, "logits"), [&]() -> absl::Status {
        SWAGE_ASSIGN_OR_RETURN(view.original,
                               logits_of(original, start + first, rows, vocabulary_));
        SWAGE_ASSIGN_OR_RETURN(view.compressed,
                               logits_of(compressed, start + first, rows, vocabulary_));
        return absl::OkStatus();
      }));
      SWAGE_RETURN_IF_ERROR(consume(view, set));
    }
    start += length;
  }
  return absl::OkStatus();
}

// Every evaluator may write into what it gets.
absl::Status Evaluation::consume(const LogitsView& view, const Set& set) {
  for (const size_t i : set.evaluators) {
    const bool last = i == set.evaluators.back();
    const LogitsView own = {view.sequence, view.first, last ? view.targets : own_copy(view.targets),
                            last ? view.original : own_copy(view.original),
                            last ? view.compressed : own_copy(view.compressed)};
    const Entry& entry = evaluators_[i];
    SWAGE_RETURN_IF_ERROR(call_plugin(site_of(entry.evaluator.get(), "consume"),
                                      [&] { return entry.evaluator->consume(own); }));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluation::report() {
  Value::Table all;
  for (const Entry& entry : evaluators_) {
    Metrics metrics;
    const CallSite called = site_of(entry.evaluator.get(), "report");
    SWAGE_RETURN_IF_ERROR(call_plugin(called, [&]() -> absl::Status {
      SWAGE_ASSIGN_OR_RETURN(metrics, entry.evaluator->report());
      SWAGE_RETURN_IF_ERROR(check_figures(metrics.original));
      return check_figures(metrics.compressed);
    }));
    Value::Table sides;
    if (!metrics.original.empty()) sides["original"] = figures(metrics.original);
    if (!metrics.compressed.empty()) sides["compressed"] = figures(metrics.compressed);
    all[entry.spec->name] = Value(std::move(sides));
  }
  return Value(std::move(all));
}

}  // namespace swage
