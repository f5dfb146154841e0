#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/catalog/catalog.h"
#include "core/config/param_check.h"
#include "core/config/pipeline.h"

namespace swage {

// Turns a document into a pipeline, section by section; problems are collected.
class PipelineReader {
 public:
  PipelineReader(const PipelineSource& source, const Catalog& catalog);
  absl::StatusOr<Pipeline> read();

 private:
  // One entry of [[step]], [[evaluate]] or [[export]] whose component was found.
  struct Entry {
    std::string path;   // "step[0]"
    std::string owner;  // `step "gptq"`, for messages
    const Value* table = nullptr;
    std::string use, name;
    const ComponentManifest* component = nullptr;
    SourceLocation where;
    Value::Table keys;  // all checked values
    Params params;      // those that the component declares
  };

  void check_sections();
  Value::Table read_section(const std::string& name);
  std::vector<Entry> read_entries(const std::string& name);
  std::optional<Entry> read_entry(const std::string& section, const std::string& path,
                                  const Value& table);
  void read_calibration();
  void read_run();
  void read_exports();
  std::optional<ServeSpec> read_serve(const Entry& entry);

  // pipeline_steps.cc
  void read_steps();
  Step read_step(const Entry& entry);
  void read_step_schemes(const Entry& entry, Step* step);
  void read_mix(const Entry& entry, Step* step);
  void read_overrides(const Entry& entry, Step* step);
  Override read_override(const Value& table, const std::string& path, const Entry& entry,
                         const Step& step);
  bool takes_scheme(const Entry& entry, const std::string& table, const std::string& path);
  // The scheme that the table `kind`, "weight" or "activation", of the table at `path` makes of
  // `base`.
  Scheme scheme_at(const Value& table, const std::string& path, const std::string& kind,
                   const Scheme& base);
  // The glob, or "" and a problem at `path` where it cannot be held against names.
  std::string glob_at(const std::string& glob, const std::string& path);

  const PipelineSource& source_;
  const Document& document_;
  const Value& root_;
  const Catalog& catalog_;
  Problems problems_;
  Pipeline pipeline_;
  std::shared_ptr<const Formats> formats_;
  Scheme default_weight_;  // [scheme]
  std::optional<Scheme> default_activation_;
};

// The configuration as a tree with every default filled in (pipeline_effective.cc).
Value effective_value(const Pipeline& pipeline);

}  // namespace swage
