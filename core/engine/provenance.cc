#include "core/engine/provenance.h"

#include <filesystem>

#include "core/engine/result.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = 64 << 20;

constexpr const char* kMeasured[] = {
    "metrics",      "bits_per_weight", "bits_per_weight_model", "linears_compressed",
    "linears_kept", "parameters"};

// Of paths the last name.
Value without_folders(const Value& value) {
  if (const Value::Table* const table = value.table()) {
    Value::Table made;
    for (const auto& [key, item] : *table) made[key] = without_folders(item);
    return Value(std::move(made));
  }
  if (const Value::List* const list = value.list()) {
    Value::List made;
    for (const Value& item : *list) made.push_back(without_folders(item));
    return Value(std::move(made));
  }
  const std::string* const text = value.text();
  if (text == nullptr || text->empty() || text->front() != '/') return value;
  const fs::path path(*text);
  return Value((path.has_filename() ? path : path.parent_path()).filename().string());
}

// The pipeline, with this export alone.
Value recipe_of(const Pipeline& pipeline, const ExportSpec& spec) {
  Value::Table recipe = *pipeline.effective.table();
  recipe["model"].table()->erase("path");
  recipe["run"].table()->erase("work");
  Value::List exports;
  for (const Value& one : *pipeline.effective["export"].list()) {
    if (one.str("name", "") != spec.name) continue;
    exports.push_back(one);
    exports.back().table()->erase("path");
  }
  recipe["export"] = Value(std::move(exports));
  return without_folders(Value(std::move(recipe)));
}

// The same of the checkpoint that the run began with, where that is an export of Swage.
Value made_from(const std::string& model) {
  const std::string path = (fs::path(model) / kProvenanceFile).string();
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const auto text = io::read_file(path, kMaxBytes);
  const auto value = text.ok() ? parse_json(*text, path) : text.status();
  return value.ok() ? *value : Value();
}

}  // namespace

absl::Status write_provenance(const Journal& journal, const Pipeline& pipeline,
                              const ExportSpec& spec, const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const Value result, make_result(journal, pipeline));
  Value::Table measured;
  for (const char* key : kMeasured)
    if (result.has(key)) measured[key] = result[key];
  Value::Table all = {
      {"recipe", recipe_of(pipeline, spec)},
      {"versions", result["versions"]},
      {"model", Value::Table{{"digest", result["model_digest"]}, {"files", result["model_files"]}}},
      {"data", without_folders(result["data"])},
      {"measured", std::move(measured)}};
  if (Value from = made_from(pipeline.model_path); !from.is_null()) all["from"] = std::move(from);
  return io::write_file_atomically((fs::path(folder) / kProvenanceFile).string(),
                                   to_json(Value(std::move(all))) + "\n");
}

}  // namespace swage
