#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "core/engine/export_place.h"
#include "core/engine/opened_model.h"
#include "core/engine/stored_item.h"
#include "swage/call_site.h"
#include "swage/exporter.h"

namespace swage {

// The config.json that an exporter is given for a checkpoint of these tensors.
Value config_of_export(const OpenedModel& model, const WeightSource& tensors);

// Writes one export while the sweep goes on: part files in WORK/parts/<name>, laid out in the end.
class ExportWriter {
 public:
  ExportWriter(const ExportSpec& spec, std::shared_ptr<Exporter> exporter, const std::string& work);

  const ExportSpec& spec() const { return spec_; }
  const std::shared_ptr<Exporter>& exporter() const { return exporter_; }
  // Does it store one compressed matrix for both ends of a tied model (swage/tied_ends.h)?
  bool ties() const { return ties_; }
  absl::Status check(const std::vector<LinearSummary>& planned);
  // What of the model beside its linears does the exporter refuse (swage/source_check.h)?
  absl::Status check_source(const OpenedModel& model) const;
  // A new exporter of the same parameters, which has seen no block.
  absl::Status renew(Loader& loader);

  // Each makes one part file, fsynced, whole or not there, and returns what must lie in it.
  absl::StatusOr<std::vector<StoredItem>> write_block(Block& block);
  // An end of the model; `linear`: of its matrix, null where that is a parameter.
  absl::StatusOr<std::vector<StoredItem>> write_end(const std::string& part, Linear* linear,
                                                    const std::deque<Parameter>& parameters);
  // Part files of what the model's ledger carries, read from its checkpoint bit for bit;
  // their paths are added to `files`.
  absl::StatusOr<std::vector<StoredItem>> write_carried(const OpenedModel& model,
                                                        std::vector<std::string>* files);

  // The file of a part: "language-00003", "embedding", "head" …
  std::string part_file(const std::string& part) const;

  // Lays the checkpoint out of these part files in an empty folder.
  absl::Status finish(const OpenedModel& model, const std::vector<LinearSummary>& linears,
                      const std::vector<std::string>& parts, const std::string& folder);
  ExportPlace& place() { return place_; }
  // Are the part files still there? They go once an export was found right.
  bool has_parts() const;
  // Frees the disk space of the parts.
  void drop_parts();

 private:
  class Sink;
  CallSite site(std::string phase) const;
  absl::StatusOr<std::vector<StoredItem>> write_part(const std::string& part,
                                                     const std::string& what,
                                                     const std::vector<Linear*>& linears,
                                                     const std::deque<Parameter>& parameters);
  absl::Status encode(Linear& linear, Sink& sink, std::vector<StoredItem>* items);
  absl::Status encode(const Parameter& parameter, Sink& sink, std::vector<StoredItem>* items);

  const ExportSpec& spec_;
  std::shared_ptr<Exporter> exporter_;
  std::string parts_;
  ExportPlace place_;
  bool ties_ = false;
  Remember remember_ = Remember::kBitsAndValues;
  std::vector<LinearSummary> planned_;
};

}  // namespace swage
