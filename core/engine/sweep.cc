#include "core/engine/sweep.h"

#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/engine/block_loader.h"
#include "core/engine/files.h"
#include "core/engine/passage.h"
#include "core/engine/process.h"
#include "core/engine/step_run.h"
#include "core/engine/zeros.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

// Where nothing passes through a block, its work is as short as a look at its bytes: pages that the
// kernel takes back and clears again would be half of it. The next block asks for the same pieces.
constexpr int64_t kBlocksOfFreeMemory = 16;
void keep_free_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

std::string key_of(const BlockId& id) { return absl::StrFormat("%s-%05d", id.tower, id.index); }

}  // namespace

Sweep::Sweep(RunSetup& setup, Journal& journal, Reporter& reporter)
    : setup_(setup),
      journal_(journal),
      reporter_(reporter),
      ends_(*setup.model, setup.pipeline.run.seed),
      cache_(setup.pipeline.run.reference_cache, *setup.model),
      blocks_(setup.model->blocks()) {}

absl::Status Sweep::make_streams(bool with_calibration) {
  const auto add = [&](std::string name, Role role, const SequenceSet& sequences) {
    TokenStream stream;
    stream.name = std::move(name);
    stream.role = role;
    stream.sequences = &sequences;
    streams_.push_back(std::move(stream));
  };
  const bool compresses = !setup_.steps.empty();
  if (with_calibration && uses_stream(setup_.steps, Stream::kOriginal))
    add("calibration.original", Role::kOriginal, setup_.calibration);
  if (with_calibration && uses_stream(setup_.steps, Stream::kCompressed))
    add("calibration.compressed", Role::kCompressed, setup_.calibration);
  int64_t index = 0;
  for (const Evaluation::Set& set : setup_.evaluation->sets()) {
    const std::string name = absl::StrCat("evaluation-", index++);
    if (set.wants_original || !compresses)
      add(name + ".reference", Role::kReference, set.sequences);
    if (compresses) add(name + ".compressed", Role::kCompressed, set.sequences);
  }
  if (!setup_.verification.empty())
    add("verification.compressed", Role::kCompressed, setup_.verification);
  for (TokenStream& stream : streams_) {
    if (stream.role == Role::kReference) SWAGE_RETURN_IF_ERROR(cache_.load(&stream, reporter_));
  }
  return absl::OkStatus();
}

TokenStream* Sweep::stream(Role role, const SequenceSet& sequences) {
  for (TokenStream& stream : streams_) {
    if (stream.role == role && stream.sequences == &sequences) return &stream;
  }
  return nullptr;
}

const TokenStream* Sweep::find(Role role, const SequenceSet& sequences) const {
  return const_cast<Sweep*>(this)->stream(role, sequences);
}

absl::Status Sweep::run() {
  SWAGE_ASSIGN_OR_RETURN(const int64_t done, committed_blocks());
  const auto count = static_cast<int64_t>(blocks_.size());
  SWAGE_RETURN_IF_ERROR(ends_.transform(setup_.steps, reporter_));
  SWAGE_RETURN_IF_ERROR(make_streams(done < count || setup_.measures_head()));
  if (streams_.empty()) keep_free_memory();
  SWAGE_RETURN_IF_ERROR(begin(done));
  if (done < count) {
    setup_.shards->start();
    reporter_.begin_phase(setup_.steps.empty() ? "measure" : "compress", count, done);
    BlockLoader loader(*setup_.model, blocks_, static_cast<size_t>(done));
    for (int64_t i = done; i < count; ++i) {
      const std::string& tower = blocks_[static_cast<size_t>(i)].tower;
      if (i == 0 || tower != blocks_[static_cast<size_t>(i - 1)].tower)
        SWAGE_RETURN_IF_ERROR(enter_tower(tower));
      auto next = loader.next();
      if (!next.ok()) return await_mended(next.status());
      const auto loaded = *std::move(next);
      SWAGE_RETURN_IF_ERROR(annotate(block(*loaded, i), text_of(blocks_[static_cast<size_t>(i)])));
      SWAGE_RETURN_IF_ERROR(interrupted());
    }
    reporter_.end_phase();
  }
  return write_head();
}

// Part files lie about while a run stands still. One that is not what was written is computed
// again, and with it all blocks: hidden states of earlier borders are gone.
absl::StatusOr<int64_t> Sweep::committed_blocks() {
  SWAGE_ASSIGN_OR_RETURN(const auto committed, journal_.all("block"));
  if (committed.empty()) return 0;
  for (const ExportWriter& writer : setup_.writers) {
    const std::string& name = writer.spec().name;
    SWAGE_ASSIGN_OR_RETURN(const bool written, is_done(journal_, "phase", "export/" + name));
    if (written) continue;
    SWAGE_ASSIGN_OR_RETURN(const auto parts, recorded_files(journal_, "parts/" + name));
    for (const std::string& part : parts) {
      const absl::Status status = check_file(journal_, part);
      if (status.ok()) continue;
      const std::string note =
          absl::StrCat(status.message(), "; the run began again with the first block");
      reporter_.note(note);
      setup_.shards->tell_again();
      SWAGE_RETURN_IF_ERROR(journal_.begin_again(
          {{"phase", "begun again", Value(Value::Table{{"notes", Value::List{note}}})}}));
      return 0;
    }
  }
  return static_cast<int64_t>(committed.size());
}

// A reference that came out of a cache is in no state file. Where the cache has lost it, the
// original is passed again.
absl::Status Sweep::pass_missing_references(const std::string& state, const std::string& tower) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({state}));
  const View loaded = setup_.model->quantized() ? View::kCompressed : View::kFloat;
  for (TokenStream& stream : streams_) {
    const bool outside = tower != kLanguage && !stream.sequences->has_pictures();
    if (stream.role != Role::kReference || stream.finished || outside) continue;
    if (source->has(stream.name)) continue;
    reporter_.note(absl::StrCat(stream.name,
                                ": is in no reference cache any more, so the original "
                                "is passed again"));
    SWAGE_RETURN_IF_ERROR(pass_through(*setup_.model, loaded, stream, [](const BlockId&) {}));
    stream.finished = true;
  }
  return absl::OkStatus();
}

absl::Status Sweep::begin(int64_t done) {
  if (done == 0 || streams_.empty()) return absl::OkStatus();
  const bool evaluated = is_done(journal_, "phase", "evaluate").value_or(false);
  if (evaluated) return absl::OkStatus();  // nothing is left that would need the streams
  const std::string state = setup_.state_file(done);
  const std::string& tower = blocks_[static_cast<size_t>(done - 1)].tower;
  const absl::Status intact = check_file(journal_, state);
  if (!intact.ok())
    return annotate(absl::DataLossError(absl::StrCat(
                        intact.message(),
                        "; put it back, or remove the work folder and run the pipeline again")),
                    "the run cannot go on");
  SWAGE_RETURN_IF_ERROR(pass_missing_references(state, tower));
  return load_streams(state, setup_.model->options().device, tower, &streams_);
}

// A block that cannot be read may be mended and the run go on: what it held is no part of the run.
absl::Status Sweep::await_mended(const absl::Status& refused) {
  setup_.shards->forget(refused.message());
  SWAGE_RETURN_IF_ERROR(journal_.commit(setup_.shards->news()));
  return refused;
}

// A plugin that remembers blocks would go on differently after a stop, so each block gets plugins
// that have seen none. What an algorithm remembers of the whole model stays: every start shows it
// anew.
absl::Status Sweep::renew_plugins() {
  for (ExportWriter& writer : setup_.writers) SWAGE_RETURN_IF_ERROR(writer.renew(*setup_.loader));
  for (PlannedStep& planned : setup_.steps) {
    if (ends_.looked(planned)) continue;
    SWAGE_ASSIGN_OR_RETURN(
        planned.algorithm,
        setup_.loader->algorithm(planned.step->use, planned.step->params,
                                 absl::StrCat("step \"", planned.step->name, "\"")));
  }
  return absl::OkStatus();
}

absl::Status Sweep::block(Block& block, int64_t index) {
  // Free memory between pieces in use would add up from block to block.
  if (!streams_.empty() || index % kBlocksOfFreeMemory == 0) malloc_trim(0);
  SWAGE_RETURN_IF_ERROR(renew_plugins());
  const bool last = ends_calibration(index);
  const std::string& adapter = setup_.model->adapter_name();
  RunRecord record;
  Stopwatch watch;
  const View loaded = setup_.model->quantized() ? View::kCompressed : View::kFloat;
  for (TokenStream& stream : streams_) {
    if (stream.role != Role::kReference || stream.finished) continue;
    reporter_.at("original", 0);
    SWAGE_RETURN_IF_ERROR(run_pass(block, loaded, adapter, stream));
  }
  record.seconds("reference", watch.lap());
  SWAGE_RETURN_IF_ERROR(run_steps(block, last, &record));
  record.seconds("steps", watch.lap());
  SWAGE_RETURN_IF_ERROR(pass_compressed(block, last));
  record.seconds("compressed", watch.lap());
  SWAGE_RETURN_IF_ERROR(write_exports(block, &record));
  for (const Parameter& parameter : block.parameters()) record.parameter(parameter);
  record.seconds("encode", watch.lap());
  return commit(block.id(), index, &record);
}

// Calibration streams go through the steps, and stand behind the block afterwards.
absl::Status Sweep::run_steps(Block& block, bool last, RunRecord* record) {
  const std::string& adapter = setup_.model->adapter_name();
  TokenStream* const original = stream(Role::kOriginal, setup_.calibration);
  std::vector<Slots> original_output, compressed_output;
  std::string passed, left;  // digests: what the original output has passed, what the steps left
  for (const PlannedStep& step : setup_.steps) {
    if (is_end(block.id()) && !swage::works_on(*step.step, block.linears().front().name)) continue;
    const bool measures_compressed = step.needs.stream() == Stream::kCompressed;
    StepRun::Input input;
    if (step.needs.stream() == Stream::kOriginal) input.stream = original;
    if (measures_compressed) input.stream = stream(Role::kCompressed, setup_.calibration);
    // Text does not pass through a tower of images.
    if (input.stream != nullptr && input.stream->batches.empty()) input.stream = nullptr;
    input.view = measures_compressed ? View::kCompressed : View::kFloat;
    input.wants_output = step.leaves_output && !last;
    if (setup_.pipeline.calibration) {
      input.experts_seen = setup_.pipeline.calibration->experts_seen;
      input.expert_tokens = setup_.pipeline.calibration->expert_tokens;
    }
    StepRun run(step, block, input, adapter, setup_.pipeline.run.seed, reporter_);
    SWAGE_RETURN_IF_ERROR(run.transform());
    record->notes(run.notes());
    if (!run.expert_tokens().empty()) record->set("expert_tokens", Value(run.expert_tokens()));
    if (measures_compressed && run.output_is_final()) compressed_output = std::move(run.output());
    if (step.needs.stream() == Stream::kOriginal && !run.output().empty()) {
      original_output = std::move(run.output());
      passed = run.digest_at_output();
    }
    if (!original_output.empty()) left = run.digest();
  }
  // Written or folded behind that walk: the stream passes what stands there now.
  if (left != passed) original_output.clear();
  const bool rounded = round_to_storage(block);
  SWAGE_ASSIGN_OR_RETURN(const auto outcomes, settle(block, setup_.pipeline.steps));
  for (const LinearOutcome& outcome : outcomes) record->linear(outcome);
  for (const std::string& zeros : zero_notes(outcomes)) {
    const std::string note = absl::StrCat(text_of(block.id()), ": ", zeros);
    record->notes({note});
    reporter_.note(note);
  }
  calibration_left_ = !compressed_output.empty() && !rounded;
  if (calibration_left_)
    replace(std::move(compressed_output), *stream(Role::kCompressed, setup_.calibration));
  if (original == nullptr || last) return absl::OkStatus();
  if (original_output.empty()) return run_pass(block, View::kFloat, adapter, *original);
  replace(std::move(original_output), *original);
  return absl::OkStatus();
}

absl::Status Sweep::pass_compressed(Block& block, bool last) {
  for (Linear& linear : block.linears()) linear.drop_float();
  for (TokenStream& stream : streams_) {
    if (stream.role != Role::kCompressed) continue;
    if (stream.sequences == &setup_.calibration && (last || calibration_left_)) continue;
    reporter_.at("compressed", 1);
    SWAGE_RETURN_IF_ERROR(run_pass(block, View::kCompressed, setup_.model->adapter_name(), stream));
  }
  return absl::OkStatus();
}

absl::Status Sweep::write_exports(Block& block, RunRecord* record) {
  for (ExportWriter& writer : setup_.writers) {
    SWAGE_ASSIGN_OR_RETURN(const auto items, writer.write_block(block));
    record->stored(writer.spec().name, items);
  }
  SWAGE_RETURN_IF_ERROR(record_parts(key_of(block.id()), record));
  for (const Linear& linear : block.linears()) {
    if (!linear.bias.defined()) continue;
    const auto element_bits = static_cast<int64_t>(c10::elementSize(linear.storage)) * 8;
    record->parameters(linear.bias.numel(), linear.bias.numel() * element_bits);
  }
  return absl::OkStatus();
}

absl::Status Sweep::record_parts(const std::string& part, RunRecord* record) {
  for (const ExportWriter& writer : setup_.writers)
    SWAGE_RETURN_IF_ERROR(record->file(journal_.work(), writer.part_file(part)));
  return absl::OkStatus();
}

void Sweep::drop_calibration() {
  const auto is_calibration = [&](const TokenStream& stream) {
    return stream.sequences == &setup_.calibration;
  };
  streams_.erase(std::remove_if(streams_.begin(), streams_.end(), is_calibration), streams_.end());
}

absl::Status Sweep::commit(const BlockId& id, int64_t index, RunRecord* record) {
  Stopwatch watch;
  if (ends_calibration(index)) drop_calibration();
  SWAGE_RETURN_IF_ERROR(make_folder(fs::path(setup_.state_file(0)).parent_path().string()));
  if (!streams_.empty()) {
    const std::string state = setup_.state_file(index + 1);
    SWAGE_RETURN_IF_ERROR(save_streams(state, streams_));
    SWAGE_RETURN_IF_ERROR(record->file(journal_.work(), state));
  }
  SWAGE_RETURN_IF_ERROR(setup_.shards->check());
  record->add(setup_.shards->news());
  record->seconds("commit", watch.lap());
  SWAGE_RETURN_IF_ERROR(record->commit(journal_, "block", key_of(id)));
  std::error_code ignored;  // it only takes room
  fs::remove(setup_.state_file(index), ignored);
  reporter_.unit_done(text_of(id),
                      Value(Value::Table{{"phases", record->figures().at("seconds")}}));
  return absl::OkStatus();
}

}  // namespace swage
