#include "core/engine/outcome.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/rounding_error.h"
#include "swage/compressed_linear.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
namespace {

constexpr std::pair<at::ScalarType, const char*> kTypeNames[] = {
    {at::kFloat, "fp32"}, {at::kDouble, "fp64"}, {at::kHalf, "fp16"}, {at::kBFloat16, "bf16"}};

const char* name_of(at::ScalarType type) {
  for (const auto& [known, name] : kTypeNames) {
    if (known == type) return name;
  }
  return "fp32";
}

at::ScalarType type_named(const std::string& name) {
  for (const auto& [type, known] : kTypeNames) {
    if (name == known) return type;
  }
  return at::kFloat;
}

// The step whose result stands, or the rule by which the linear stays in floats.
struct Decision {
  const Step* step = nullptr;
  std::string kept_by;
};

Decision decide(const std::vector<Step>& steps, const std::string& linear) {
  Decision decision;
  bool any = false;
  for (const Step& step : steps) {
    if (!step.takes_weight) continue;
    any = true;
    const LinearScheme scheme = scheme_for(step, linear);
    if (!scheme.applies) continue;
    if (!scheme.keep) {
      decision = {&step, ""};
    } else if (decision.step == nullptr) {
      decision.kept_by = absl::StrCat("keep = true in step \"", step.name, "\"");
    }
  }
  if (decision.step == nullptr && decision.kept_by.empty())
    decision.kept_by = any ? "no step's match fits it" : "no step quantizes weights";
  return decision;
}

LinearOutcome kept(const Linear& linear, std::string rule) {
  LinearOutcome outcome;
  outcome.summary.name = linear.name;
  outcome.summary.out = linear.out();
  outcome.summary.in = linear.in();
  outcome.summary.kept_by = std::move(rule);
  outcome.summary.scale_dtype = linear.storage;
  outcome.bits = linear.weight.numel() * static_cast<int64_t>(c10::elementSize(linear.storage)) * 8;
  return outcome;
}

LinearOutcome compressed(const CompressedLinear& result) {
  LinearOutcome outcome;
  outcome.summary.name = result.name;
  outcome.summary.out = result.out;
  outcome.summary.in = result.in;
  outcome.summary.weight = result.scheme;
  if (result.activation) outcome.summary.activation = result.activation->scheme;
  outcome.summary.scale_dtype =
      result.scales.defined() ? result.scales.scalar_type() : result.codes.scalar_type();
  outcome.bits = storage_bits(result);
  outcome.provenance = result.provenance;
  return outcome;
}

bool round_tensor(at::Tensor& value, at::ScalarType storage) {
  if (!value.defined() || value.scalar_type() == storage) return false;
  at::Tensor rounded = value.to(storage).to(value.scalar_type());
  if (rounded.equal(value)) return false;
  value = std::move(rounded);
  return true;
}

}  // namespace

at::ScalarType scale_dtype(const LinearScheme& scheme, at::ScalarType storage) {
  switch (scheme.weight.scale_type) {
    case ScaleType::kBf16:
      return at::kBFloat16;
    case ScaleType::kFp16:
      return at::kHalf;
    case ScaleType::kFp32:
      return at::kFloat;
    case ScaleType::kAuto:
      return scheme.activation ? at::kFloat : storage;
    case ScaleType::kCheckpoint:
      break;
  }
  return storage;
}

Value to_value(const LinearOutcome& outcome) {
  const LinearSummary& summary = outcome.summary;
  Value::Table table = {{"out", summary.out},
                        {"in", summary.in},
                        {"bits", outcome.bits},
                        {"scale_dtype", name_of(summary.scale_dtype)}};
  if (!summary.kept_by.empty()) {
    table["kept_by"] = summary.kept_by;
    return Value(std::move(table));
  }
  table["weight"] = to_value(summary.weight);
  table["provenance"] = outcome.provenance;
  table["error"] = outcome.error;
  table["zeroed_inputs"] = outcome.zeroed;
  table["zeroed_outputs"] = outcome.zeroed_rows;
  table["is_zero"] = outcome.is_zero;
  if (summary.activation) table["activation"] = to_value(*summary.activation);
  return Value(std::move(table));
}

absl::StatusOr<LinearOutcome> outcome_from(const std::string& name, const Value& value) {
  LinearOutcome outcome;
  outcome.summary.name = name;
  outcome.summary.out = value.i64("out", 0);
  outcome.summary.in = value.i64("in", 0);
  outcome.summary.kept_by = value.str("kept_by", "");
  outcome.summary.scale_dtype = type_named(value.str("scale_dtype", "fp32"));
  outcome.bits = value.i64("bits", 0);
  outcome.provenance = value.str("provenance", "");
  outcome.error = value.f64("error", 0);
  outcome.zeroed = value.i64("zeroed_inputs", 0);
  outcome.zeroed_rows = value.i64("zeroed_outputs", 0);
  outcome.is_zero = value.flag("is_zero", false);
  if (value.has("weight")) {
    SWAGE_ASSIGN_OR_RETURN(outcome.summary.weight, parse_weight_scheme(value["weight"], {}));
  }
  if (value.has("activation")) {
    SWAGE_ASSIGN_OR_RETURN(outcome.summary.activation,
                           parse_activation_scheme(value["activation"], {}));
  }
  return outcome;
}

absl::StatusOr<std::vector<LinearSummary>> planned_linears(const Pipeline& pipeline,
                                                           const OpenedModel& model) {
  std::vector<LinearSummary> planned;
  for (const ModelOutline::Linear& linear : model.outline().linears) {
    LinearSummary summary;
    summary.name = linear.name;
    summary.out = linear.out;
    summary.in = linear.in;
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType storage,
                           model.checkpoint().weights().dtype(linear.name + ".weight"));
    const Decision decision = linear.kept_by.empty() ? decide(pipeline.steps, linear.name)
                                                     : Decision{nullptr, linear.kept_by};
    summary.kept_by = decision.kept_by;
    summary.scale_dtype = storage;
    if (decision.step != nullptr) {
      const LinearScheme scheme = scheme_for(*decision.step, linear.name);
      summary.weight = scheme.weight;
      summary.activation = scheme.activation;
      summary.scale_dtype = scale_dtype(scheme, storage);
    }
    planned.push_back(std::move(summary));
  }
  return planned;
}

absl::StatusOr<std::vector<LinearOutcome>> settle(Block& block, const std::vector<Step>& steps) {
  std::vector<LinearOutcome> outcomes;
  for (Linear& linear : block.linears()) {
    if (linear.result()) {
      outcomes.push_back(compressed(*linear.result()));
      if (steps.empty()) continue;  // a checkpoint that was compressed before: its floats are gone
      const RoundingError error = rounding_error(linear);
      outcomes.back().error = error.relative;
      outcomes.back().zeroed = error.zeroed;
      outcomes.back().zeroed_rows = error.zeroed_rows;
      outcomes.back().largest_lost = error.largest_lost;
      outcomes.back().was_zero = error.was_zero;
      outcomes.back().is_zero = error.is_zero;
      continue;
    }
    if (!linear.kept_by.empty()) {
      outcomes.push_back(kept(linear, linear.kept_by));
      continue;
    }
    const Decision decision = decide(steps, linear.name);
    if (decision.step != nullptr) {
      return with_exit_code(
          absl::InternalError(absl::StrCat(
              linear.name, ": step \"", decision.step->name,
              "\" should have compressed it and emitted nothing, a bug of the plugin")),
          ExitCode::kPlugin);
    }
    outcomes.push_back(kept(linear, decision.kept_by));
  }
  return outcomes;
}

bool round_to_storage(std::deque<Parameter>& parameters) {
  bool changed = false;
  for (Parameter& parameter : parameters)
    changed |= round_tensor(parameter.value, parameter.storage);
  return changed;
}

bool round_to_storage(Block& block) {
  bool changed = round_to_storage(block.parameters());
  for (Linear& linear : block.linears()) {
    changed |= round_tensor(linear.bias, linear.storage);
    if (!linear.result()) transform::take_back_transform(linear);  // a float says no transform
    if (!linear.result()) changed |= round_tensor(linear.weight, linear.storage);
  }
  return changed;
}

}  // namespace swage
