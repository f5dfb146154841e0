#pragma once
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/drawn_data.h"
#include "core/engine/evaluation.h"
#include "core/engine/export_writer.h"
#include "core/engine/opened_model.h"
#include "core/engine/planned_step.h"
#include "core/engine/shard_watch.h"

namespace swage {

// Everything a run works with, made out of a checked pipeline before any work is done.
struct RunSetup {
  Pipeline pipeline;
  Catalog catalog;
  std::unique_ptr<Loader> loader;      // over `catalog`
  std::unique_ptr<ShardWatch> shards;  // of the model
  std::optional<OpenedModel> model;
  Value side_files;  // digests of what lies beside the model's weights
  std::vector<PlannedStep> steps;
  std::vector<LinearSummary> planned;  // of every linear (outcome.h)
  std::set<std::string> carried;       // of these: as a compressed checkpoint holds them
  std::string tied_head;  // shares the matrix of a compressed embedding; empty: none (tied_ends.h)
  std::vector<ExportWriter> writers;
  SequenceSet calibration;       // empty: no step measures
  std::vector<DrawnData> drawn;  // of the calibration, where there is one, and every evaluation
  std::optional<Evaluation> evaluation;
  SequenceSet verification;    // run again through what exports decode to
  std::string why_no_windows;  // where that is empty

  // What a user should know before any work: about the data, and a recipe that compresses nothing.
  std::vector<std::string> remarks;
  // What the run is made of, for its result: {"data": {"calibration": …, "evaluate": {…}}, …}.
  Value origin() const;

  // Is the end to be compressed? Null: it stays in floats.
  const LinearSummary* planned_end(LinearPlace place) const;
  // Does a step take statistics of what the head reads?
  bool measures_head() const;

  // What makes this run this run: configuration, plugins, input. Resuming compares it.
  Value identity() const;
  // "language" block 3 is the file border-00004 of the state folder, and so on.
  std::string state_file(int64_t border) const;
  std::string verified_file() const;  // hidden states of `verification` behind the last block
};

// Errors carry what is wrong with model, data, plugins or exports; nothing has been written. The
// setup is on the heap: its parts refer to each other.
absl::StatusOr<std::unique_ptr<RunSetup>> set_up_run(
    LoadedPipeline loaded, OpenedModel::Compare compare = OpenedModel::Compare::kWhole);

}  // namespace swage
