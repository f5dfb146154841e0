#include <set>

#include "absl/strings/str_cat.h"
#include "core/config/pipeline_reader.h"

namespace swage {
namespace {

Value texts(const std::vector<std::string>& words) {
  return Value(Value::List(words.begin(), words.end()));
}

Value override_value(const Override& override) {
  return Value(Value::Table{{"match", override.match},
                            {"weight", override.weight},
                            {"activation", override.activation},
                            {"keep", override.keep}});
}

// Its file may say something else tomorrow.
Value mix_value(const Step& step) {
  Value::Table schemes;
  for (const auto& [format, scheme] : step.mix_schemes) schemes[format] = to_value(scheme);
  return Value(Value::Table{
      {"name", step.mix->name}, {"text", step.mix->text}, {"schemes", std::move(schemes)}});
}

Value step_value(const Step& step) {
  Value::List overrides;
  for (const Override& override : step.overrides) overrides.push_back(override_value(override));
  Value::Table table = {{"use", step.use},
                        {"name", step.name},
                        {"match", texts(step.match)},
                        {"calibrate_on", step.calibrate_on},
                        {"weight", step.takes_weight ? to_value(step.weight) : Value()},
                        {"activation", step.activation ? to_value(*step.activation) : Value()},
                        {"override", std::move(overrides)},
                        {"params", step.params.values()}};
  if (step.mix != nullptr) table["mix"] = mix_value(step);
  return Value(std::move(table));
}

Value calibration_value(const std::optional<CalibrationSpec>& spec) {
  if (!spec) return Value();
  return Value(Value::Table{{"source", spec->source},
                            {"recipe", spec->recipe},
                            {"samples", spec->samples},
                            {"length", spec->length},
                            {"seed", spec->seed},
                            {"experts_seen", spec->experts_seen},
                            {"expert_tokens", spec->expert_tokens}});
}

Value serve_value(const ServeSpec& spec) {
  Value::Table table = {{"engine", spec.engine->name},
                        {"tensor_parallel", spec.serving.tensor_parallel}};
  if (spec.serving.device) table["device"] = text_of(*spec.serving.device);
  return Value(std::move(table));
}

// Without threads, micro_batch and reference_cache: no result depends on them, so a run may go on
// with others.
Value run_value(const RunSpec& run) {
  return Value(Value::Table{{"work", run.work},
                            {"device", run.device},
                            {"compute", run.compute},
                            {"verify_windows", run.verify_windows},
                            {"seed", run.seed}});
}

void collect(const std::string& path, const Value& before, const Value& now,
             std::vector<std::string>* out) {
  if (before == now) return;
  if (before.table() != nullptr && now.table() != nullptr) {
    std::set<std::string> keys;
    for (const auto& [key, value] : *before.table()) keys.insert(key);
    for (const auto& [key, value] : *now.table()) keys.insert(key);
    for (const std::string& key : keys) collect(join_path(path, key), before[key], now[key], out);
  } else if (before.list() != nullptr && now.list() != nullptr &&
             before.list()->size() == now.list()->size()) {
    for (size_t i = 0; i < now.list()->size(); ++i) {
      collect(absl::StrCat(path, "[", i, "]"), (*before.list())[i], (*now.list())[i], out);
    }
  } else {
    out->push_back(absl::StrCat(path, ": ", to_json(before, -1), ", now ", to_json(now, -1)));
  }
}

}  // namespace

Value effective_value(const Pipeline& pipeline) {
  Value::List steps, evaluates, exports;
  for (const Step& step : pipeline.steps) steps.push_back(step_value(step));
  for (const EvaluateSpec& spec : pipeline.evaluates) {
    evaluates.push_back(
        Value::Table{{"use", spec.use}, {"name", spec.name}, {"params", spec.params.values()}});
  }
  for (const ExportSpec& spec : pipeline.exports) {
    Value::Table one{{"use", spec.use},
                     {"name", spec.name},
                     {"path", spec.path},
                     {"params", spec.params.values()}};
    if (spec.serve) one["serve"] = serve_value(*spec.serve);
    exports.push_back(std::move(one));
  }
  Value::Table model = {{"path", pipeline.model_path}, {"towers", texts(pipeline.towers)}};
  if (!pipeline.adapter.empty()) model["adapter"] = pipeline.adapter;
  if (pipeline.start_decoded) model["start"] = "decoded";
  return Value(Value::Table{{"model", std::move(model)},
                            {"calibration", calibration_value(pipeline.calibration)},
                            {"step", std::move(steps)},
                            {"evaluate", std::move(evaluates)},
                            {"export", std::move(exports)},
                            {"run", run_value(pipeline.run)}});
}

std::vector<std::string> differences(const Value& before, const Value& now) {
  std::vector<std::string> lines;
  collect("", before, now, &lines);
  return lines;
}

}  // namespace swage
