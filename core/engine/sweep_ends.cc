// The part of the sweep in front of the first block of a tower, and behind the last one.
#include "absl/strings/str_cat.h"
#include "core/engine/outcome.h"
#include "core/engine/process.h"
#include "core/engine/sweep.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {

// Compressed by a step, or so in the checkpoint that is measured.
bool Sweep::is_linear(LinearPlace place) const {
  return setup_.planned_end(place) != nullptr || setup_.model->holds_compressed(place);
}

template <class Part>
absl::StatusOr<std::unique_ptr<EndBlock>> Sweep::end_of(const std::shared_ptr<Part>& part) const {
  std::unique_ptr<EndBlock> end;
  const CallSite site = adapter_site(setup_.model->adapter_name(), "linear of an end");
  SWAGE_RETURN_IF_ERROR(call_plugin(site, [&]() -> absl::Status {
    SWAGE_ASSIGN_OR_RETURN(end, EndBlock::make(part));
    return absl::OkStatus();
  }));
  return end;
}

// Steps that name an end work on it as on a block.
absl::Status Sweep::work_on(EndBlock& end, RunRecord* record) {
  SWAGE_RETURN_IF_ERROR(renew_plugins());
  SWAGE_RETURN_IF_ERROR(run_steps(end, true, record));
  end.give_back();
  return absl::OkStatus();
}

// A matrix in floats is told of as a linear that is kept, where a step could have taken it.
absl::Status Sweep::write_end(const std::string& part, EndBlock* end,
                              const std::deque<Parameter>& parameters, RunRecord* record) {
  for (ExportWriter& writer : setup_.writers) {
    const bool has = end != nullptr && !(end->linear().name == setup_.tied_head && writer.ties());
    SWAGE_ASSIGN_OR_RETURN(const auto items,
                           writer.write_end(part, has ? &end->linear() : nullptr, parameters));
    record->stored(writer.spec().name, items);
  }
  SWAGE_RETURN_IF_ERROR(record_parts(part, record));
  for (const Parameter& parameter : parameters) {
    const ModelEnd* const matrix = setup_.model->end_of(parameter.name);
    if (matrix != nullptr)
      record->linear(kept_end(setup_.pipeline.steps, *matrix));
    else
      record->parameter(parameter);
  }
  return absl::OkStatus();
}

absl::Status Sweep::enter_tower(const std::string& tower) {
  const bool language = tower == kLanguage;
  Stopwatch watch;
  RunRecord record;
  SWAGE_ASSIGN_OR_RETURN(const auto embedding, ends_.embedding(tower, true));
  std::shared_ptr<Embedding> original = embedding;
  const bool compresses = language && setup_.planned_end(LinearPlace::kEmbedding) != nullptr;
  if (compresses || (language && ends_.embedding_transformed())) {
    SWAGE_ASSIGN_OR_RETURN(original, ends_.embedding(tower, false));
  }
  std::unique_ptr<EndBlock> end;
  if (language && is_linear(LinearPlace::kEmbedding)) {
    SWAGE_ASSIGN_OR_RETURN(end, end_of(embedding));
    SWAGE_RETURN_IF_ERROR(work_on(*end, &record));
    ends_.accept();
  }
  for (TokenStream& stream : streams_) {
    if (stream.finished) continue;
    const bool is_compressed = stream.role == Role::kCompressed;
    if (compresses) end->of_end().set_view(is_compressed ? View::kCompressed : View::kFloat);
    Embedding& used = stream.role == Role::kReference ? *original : *embedding;
    SWAGE_RETURN_IF_ERROR(enter(used, tower, *setup_.model, stream));
  }
  SWAGE_RETURN_IF_ERROR(write_end(language ? "embedding" : tower + "-embedding", end.get(),
                                  embedding->parameters(), &record));
  if (language) record.set("model_bytes", setup_.model->outline().bytes);
  const Ledger& ledger = setup_.model->ledger();
  if (language && !ledger.carried.empty() && !setup_.writers.empty())
    record.notes({absl::StrCat("carried into exports unchanged: ", carried_text(ledger))});
  record.seconds("embed", watch.lap());
  return record.commit(journal_, "phase", language ? "embed" : "embed/" + tower);
}

// Null: its matrix is a parameter. One that steps compressed is the head of what follows.
absl::StatusOr<std::unique_ptr<EndBlock>> Sweep::work_on_head(const std::shared_ptr<Head>& head,
                                                              RunRecord* record) {
  if (!is_linear(LinearPlace::kHead)) return nullptr;
  SWAGE_ASSIGN_OR_RETURN(auto end, end_of(head));
  if (setup_.planned_end(LinearPlace::kHead) == nullptr) {
    SWAGE_RETURN_IF_ERROR(work_on(*end, record));
    return end;
  }
  reporter_.begin_phase("head", 1, 0);
  SWAGE_RETURN_IF_ERROR(work_on(*end, record));
  end->of_end().set_view(View::kCompressed);
  end->of_end().drop_float();
  ends_.keep(head);
  drop_calibration();
  reporter_.unit_done(text_of(end->id()), Value(Value::Table{}));
  reporter_.end_phase();
  return end;
}

// The matrix of a tied head is what became of the embedding. It is made once more, of weights
// alone: kept until now it would lie in memory all the time.
absl::StatusOr<std::unique_ptr<EndBlock>> Sweep::tie_head(const std::shared_ptr<Head>& head) {
  SWAGE_ASSIGN_OR_RETURN(const auto embedding, ends_.embedding(kLanguage, true));
  SWAGE_ASSIGN_OR_RETURN(const auto table, end_of(embedding));
  RunRecord told_before;
  if (!table->linear().result()) SWAGE_RETURN_IF_ERROR(work_on(*table, &told_before));
  SWAGE_ASSIGN_OR_RETURN(auto end, end_of(head));
  Result result = *table->linear().result();
  result.set_name(setup_.tied_head);
  SWAGE_RETURN_IF_ERROR(end->linear().set_result(std::move(result)));
  end->give_back();
  end->of_end().set_view(View::kCompressed);
  end->of_end().drop_float();
  ends_.keep(head);
  return end;
}

// A run that goes on behind it makes the head once more, in memory, as long as logits are asked
// for.
absl::Status Sweep::write_head() {
  SWAGE_ASSIGN_OR_RETURN(const bool done, is_done(journal_, "phase", "head"));
  SWAGE_ASSIGN_OR_RETURN(const bool evaluated, is_done(journal_, "phase", "evaluate"));
  const bool compressed =
      setup_.planned_end(LinearPlace::kHead) != nullptr || !setup_.tied_head.empty();
  const bool again = compressed && !evaluated && !setup_.evaluation->empty();
  if (done && !again) return absl::OkStatus();
  Stopwatch watch;
  RunRecord record;
  SWAGE_ASSIGN_OR_RETURN(const auto head, ends_.head(true));
  const bool tied = !setup_.tied_head.empty();
  if (setup_.planned_end(LinearPlace::kEmbedding) != nullptr && !tied) {
    SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(setup_.model->adapter_name(), "untie"), [&] {
      head->untie();
      return absl::OkStatus();
    }));
    ends_.accept();
  }
  SWAGE_ASSIGN_OR_RETURN(const auto end, tied ? tie_head(head) : work_on_head(head, &record));
  if (done) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(write_end("head", end.get(), head->parameters(), &record));
  for (const TokenStream& stream : streams_) {
    if (stream.role == Role::kReference) SWAGE_RETURN_IF_ERROR(cache_.store(stream));
  }
  if (const TokenStream* verified = find(Role::kCompressed, setup_.verification)) {
    SWAGE_RETURN_IF_ERROR(save_streams(setup_.verified_file(), {*verified}));
    SWAGE_RETURN_IF_ERROR(record.file(journal_.work(), setup_.verified_file()));
  }
  SWAGE_RETURN_IF_ERROR(setup_.shards->check());
  record.add(setup_.shards->news());
  record.seconds("head", watch.lap());
  return record.commit(journal_, "phase", "head");
}

}  // namespace swage
