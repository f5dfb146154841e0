#include "core/engine/outcome.h"

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/codec_book.h"
#include "core/engine/end_block.h"
#include "core/engine/rounding_error.h"
#include "swage/io/safetensors.h"
#include "swage/result.h"
#include "swage/status.h"
#include "swage/transform/online.h"

namespace swage {
namespace {

constexpr std::pair<at::ScalarType, const char*> kTypeNames[] = {
    {at::kFloat, "fp32"}, {at::kDouble, "fp64"}, {at::kHalf, "fp16"}, {at::kBFloat16, "bf16"}};

constexpr const char* kPlaceNames[] = {"", "embedding", "head"};
size_t index_of(LinearPlace place) { return static_cast<size_t>(place); }

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
  if (decision.step != nullptr || !decision.kept_by.empty()) return decision;
  decision.kept_by = any ? "no step's match fits it" : "no step quantizes weights";
  if (any && linear == steps.front().head) decision.kept_by = end_rule(LinearPlace::kHead);
  if (any && linear == steps.front().embedding)
    decision.kept_by = end_rule(LinearPlace::kEmbedding);
  return decision;
}

absl::StatusOr<LinearSummary> plan(const Pipeline& pipeline, const ModelOutline::Linear& linear,
                                   at::ScalarType storage) {
  LinearSummary summary;
  summary.name = linear.name;
  summary.out = linear.out;
  summary.in = linear.in;
  summary.scale_dtype = storage;
  const Decision decision = linear.kept_by.empty() ? decide(pipeline.steps, linear.name)
                                                   : Decision{nullptr, linear.kept_by};
  summary.kept_by = decision.kept_by;
  if (decision.step == nullptr) return summary;
  const LinearScheme scheme = scheme_for(*decision.step, linear.name);
  SWAGE_ASSIGN_OR_RETURN(const LinearCodecs codecs, codecs_of(*decision.step, scheme));
  summary.weight = codecs.weight;
  summary.activation = codecs.activation;
  summary.scale_dtype = codecs.weight->open_scale_type(storage, codecs.activation != nullptr);
  return summary;
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

LinearOutcome compressed(const Result& result) {
  LinearOutcome outcome;
  outcome.summary = summary_of(result);
  outcome.bits = storage_bits(result);
  outcome.provenance = result.provenance();
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

Value to_value(const LinearOutcome& outcome) {
  const LinearSummary& summary = outcome.summary;
  Value::Table table = {{"out", summary.out},
                        {"in", summary.in},
                        {"bits", outcome.bits},
                        {"scale_dtype", name_of(summary.scale_dtype)}};
  if (summary.place != LinearPlace::kBlock) table["place"] = kPlaceNames[index_of(summary.place)];
  if (!summary.kept_by.empty()) {
    table["kept_by"] = summary.kept_by;
    return Value(std::move(table));
  }
  table["weight"] = to_value(summary.weight->scheme());
  if (summary.may_have_sides) table["sides"] = true;
  if (summary.may_have_mask) table["mask"] = true;
  table["provenance"] = outcome.provenance;
  table["error"] = outcome.error;
  table["zeroed_inputs"] = outcome.zeroed;
  table["zeroed_outputs"] = outcome.zeroed_rows;
  table["is_zero"] = outcome.is_zero;
  if (summary.activation) table["activation"] = to_value(summary.activation->scheme());
  return Value(std::move(table));
}

absl::StatusOr<LinearOutcome> outcome_from(const std::string& name, const Value& value) {
  LinearOutcome outcome;
  outcome.summary.name = name;
  outcome.summary.out = value.i64("out", 0);
  outcome.summary.in = value.i64("in", 0);
  outcome.summary.kept_by = value.str("kept_by", "");
  outcome.summary.scale_dtype = type_named(value.str("scale_dtype", "fp32"));
  for (const LinearPlace place : {LinearPlace::kEmbedding, LinearPlace::kHead}) {
    if (value.str("place", "") == kPlaceNames[index_of(place)]) outcome.summary.place = place;
  }
  outcome.bits = value.i64("bits", 0);
  outcome.provenance = value.str("provenance", "");
  outcome.error = value.f64("error", 0);
  outcome.zeroed = value.i64("zeroed_inputs", 0);
  outcome.zeroed_rows = value.i64("zeroed_outputs", 0);
  outcome.is_zero = value.flag("is_zero", false);
  outcome.summary.may_have_sides = value.flag("sides", false);
  outcome.summary.may_have_mask = value.flag("mask", false);
  for (const auto& [key, codec] : {std::pair("weight", &outcome.summary.weight),
                                   std::pair("activation", &outcome.summary.activation)}) {
    if (!value.has(key)) continue;
    SWAGE_ASSIGN_OR_RETURN(const Scheme scheme, scheme_from(value[key]));
    SWAGE_ASSIGN_OR_RETURN(*codec, codec_of(scheme));
  }
  return outcome;
}

LinearSummary summary_of(const Result& result) {
  LinearSummary summary;
  summary.name = result.name();
  summary.out = result.out();
  summary.in = result.in();
  summary.weight = result.codec();
  if (result.activation()) summary.activation = result.activation()->codec;
  summary.may_have_sides = !result.sides().empty();
  summary.may_have_mask = result.mask().defined();
  summary.may_transform_input = !result.online_transform().empty();
  summary.scale_dtype = decoded_type(result);
  return summary;
}

const char* end_rule(LinearPlace place) {
  return place == LinearPlace::kHead ? "the head keeps its precision unless a step names it"
                                     : "the embedding keeps its precision unless a step names it";
}

LinearOutcome kept_end(const std::vector<Step>& steps, const ModelEnd& end) {
  LinearOutcome outcome;
  outcome.summary.name = end.name;
  outcome.summary.out = end.out;
  outcome.summary.in = end.in;
  outcome.summary.kept_by = end.kept_by.empty() ? decide(steps, end.name).kept_by : end.kept_by;
  outcome.summary.scale_dtype = end.storage;
  outcome.summary.place = end.place;
  outcome.bits = end.out * end.in * static_cast<int64_t>(c10::elementSize(end.storage)) * 8;
  return outcome;
}

const Step* deciding_step(const std::vector<Step>& steps, const std::string& linear) {
  return decide(steps, linear).step;
}

// What a compressed checkpoint holds stands where no step makes something else of it.
absl::StatusOr<std::vector<LinearSummary>> planned_linears(const Pipeline& pipeline,
                                                           const OpenedModel& model) {
  std::vector<LinearSummary> planned;
  const auto carried = [&](LinearSummary* summary) {
    const auto held = model.held().find(summary->name);
    if (summary->kept_by.empty() || held == model.held().end()) return;
    const LinearPlace place = summary->place;
    *summary = held->second;
    summary->place = place;
  };
  for (const ModelOutline::Linear& linear : model.outline().linears) {
    const auto stored = model.header().find(linear.name + ".weight");
    SWAGE_CHECK(stored != model.header().end());
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType storage, io::to_scalar_type(stored->second.type));
    SWAGE_ASSIGN_OR_RETURN(LinearSummary summary, plan(pipeline, linear, storage));
    carried(&summary);
    planned.push_back(std::move(summary));
  }
  for (size_t i = 0; i < model.outline().ends.size(); ++i) {
    const ModelEnd& end = model.ledger().ends[i];
    SWAGE_ASSIGN_OR_RETURN(LinearSummary summary,
                           plan(pipeline, model.outline().ends[i], end.storage));
    summary.place = end.place;
    carried(&summary);
    if (summary.kept_by.empty()) planned.push_back(std::move(summary));
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
  for (LinearOutcome& outcome : outcomes) outcome.summary.place = place_of(block.id());
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
