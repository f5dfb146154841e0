#include "core/engine/run_setup.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/end_check.h"
#include "core/engine/mix_plan.h"
#include "core/engine/outcome.h"
#include "core/engine/process.h"
#include "core/engine/sequence_source.h"
#include "core/engine/served_export.h"
#include "core/engine/side_file_digests.h"
#include "core/engine/tied_ends.h"
#include "core/engine/width_check.h"
#include "swage/border.h"
#include "swage/io/left_out.h"
#include "swage/printable.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/text/calibration.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

at::ScalarType compute_type(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float64" ? at::kDouble : at::kFloat;
}

// Sequences that a pass takes at once. A scale of the whole tensor that is taken as activations
// come is one of a sequence, which then is a micro-batch: no result depends on the cut.
int64_t micro_batch(const RunSetup& setup) {
  if (setup.model->quantized()) return 1;  // it may have such scales
  for (const LinearSummary& linear : setup.planned) {
    if (linear.activation && linear.activation->shares_tokens()) return 1;
  }
  return setup.pipeline.run.micro_batch;
}

// Of a compressed model: what steps make anew, and what is carried as it is.
void sort_out_held(RunSetup& setup) {
  std::set<std::string> let_go, kept;  // kept: by rules, whatever steps match
  for (const auto* list : {&setup.model->outline().linears, &setup.model->outline().ends})
    for (const ModelOutline::Linear& linear : *list)
      if (!linear.kept_by.empty()) kept.insert(linear.name);
  for (const LinearSummary& linear : setup.planned) {
    if (setup.model->held().count(linear.name) == 0 || !linear.kept_by.empty()) continue;
    const bool anew =
        kept.count(linear.name) == 0 && deciding_step(setup.pipeline.steps, linear.name) != nullptr;
    (anew ? let_go : setup.carried).insert(linear.name);
  }
  if (setup.model->held().empty()) return;
  setup.remarks.push_back(absl::StrCat("starts from what a checkpoint in ",
                                       setup.model->form().name, " decodes to: ", let_go.size(),
                                       " of its linears are compressed anew, ",
                                       setup.carried.size(), " keep the codes that they have"));
  setup.model->let_go(std::move(let_go));
}

absl::Status open_the_model(RunSetup& setup, OpenedModel::Compare compare) {
  const Pipeline& pipeline = setup.pipeline;
  LoadOptions options;
  options.compute = compute_type(pipeline.run.compute);
  SWAGE_ASSIGN_OR_RETURN(options.device, open_device(pipeline.run.device));
  auto shards = ShardWatch::of_model(pipeline.model_path);
  // `swage eval` measures what compressed checkpoints serve.
  const bool measures = pipeline.start_decoded || pipeline.steps.empty();
  const auto use = measures ? OpenedModel::Use::kMeasure : OpenedModel::Use::kStart;
  SWAGE_ASSIGN_OR_RETURN(setup.model, OpenedModel::open(pipeline.model_path, setup.catalog,
                                                        *setup.loader, options, compare, use));
  SWAGE_ASSIGN_OR_RETURN(setup.shards, std::move(shards));
  SWAGE_RETURN_IF_ERROR(pipeline.start_decoded ? setup.model->check_decoded()
                        : pipeline.steps.empty() && pipeline.exports.empty()
                            ? setup.model->check_whole()
                            : setup.model->check_floats());
  SWAGE_ASSIGN_OR_RETURN(setup.side_files, side_file_digests(setup.model->checkpoint()));
  SWAGE_RETURN_IF_ERROR(setup.model->compress(pipeline.towers));
  for (Step& step : setup.pipeline.steps) {
    for (const ModelEnd& end : setup.model->ledger().ends)
      (end.place == LinearPlace::kHead ? step.head : step.embedding) = end.name;
  }
  SWAGE_RETURN_IF_ERROR(plan_mixes(*setup.model, &setup.pipeline));
  SWAGE_RETURN_IF_ERROR(check_steps(pipeline, setup.model->outline()));
  const bool measured_only = setup.model->quantized() && !pipeline.start_decoded;
  if (measured_only) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(setup.planned, planned_linears(pipeline, *setup.model));
  sort_out_held(setup);
  return check_widths(pipeline, setup.planned);
}

// Text alone does not reach a tower of images.
absl::Status check_images(const Pipeline& pipeline, const TokenSet& tokens) {
  if (!tokens.inputs.empty()) return absl::OkStatus();
  for (const std::string& tower : pipeline.towers) {
    if (tower == kLanguage) continue;
    return with_exit_code(
        absl::InvalidArgumentError(absl::StrCat(pipeline.calibration->where.text(),
                                                ": [model] towers names \"", tower,
                                                "\", which is measured on pictures, but the "
                                                "calibration holds text alone; give a .jsonl "
                                                "with pictures (docs/pipeline.md)")),
        ExitCode::kPipeline);
  }
  return absl::OkStatus();
}

absl::Status draw_calibration(RunSetup& setup) {
  const bool measures =
      uses_stream(setup.steps, Stream::kOriginal) || uses_stream(setup.steps, Stream::kCompressed);
  if (!measures) return absl::OkStatus();
  SWAGE_CHECK(setup.pipeline.calibration.has_value());  // check_pipeline asks for it
  const CalibrationSpec& spec = *setup.pipeline.calibration;
  text::CalibrationRequest request;
  request.source = spec.source;
  request.recipe = spec.recipe;
  request.samples = spec.samples;
  request.length = spec.length;
  request.seed = spec.seed;
  SourceNotes notes;
  SWAGE_ASSIGN_OR_RETURN(TokenSet tokens, calibration_sequences(request, *setup.model, &notes));
  SWAGE_RETURN_IF_ERROR(check_images(setup.pipeline, tokens));
  setup.calibration =
      SequenceSet(std::move(tokens), micro_batch(setup), setup.model->options().device);
  DrawnData drawn;
  drawn.name = "calibration";
  drawn.source = spec.source;
  drawn.kind = std::move(notes.kind);
  drawn.remarks = std::move(notes.remarks);
  drawn.asked_windows = spec.samples;
  drawn.asked_length = spec.length;
  drawn.count(setup.calibration, setup.model->shape());
  setup.drawn.push_back(std::move(drawn));
  return absl::OkStatus();
}

// A recipe whose every linear is kept is no mistake for sure, so the run says it and goes on.
absl::Status look_for_work(RunSetup& setup) {
  if (setup.pipeline.steps.empty()) return absl::OkStatus();
  std::map<std::string, int64_t> rules;
  for (const LinearSummary& linear : setup.planned) {
    if (linear.kept_by.empty()) return absl::OkStatus();
    ++rules[linear.kept_by];
  }
  std::vector<std::string> texts;
  for (const auto& [rule, count] : rules) texts.push_back(absl::StrCat(count, ": ", rule));
  setup.remarks.push_back(absl::StrCat("nothing is compressed: all ", setup.planned.size(),
                                       " linears keep their precision (",
                                       absl::StrJoin(texts, "; "), ")"));
  return absl::OkStatus();
}

// What lies beside the weights and goes into no export.
absl::Status tell_left_out(RunSetup& setup) {
  if (setup.pipeline.exports.empty()) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const auto left_out, io::left_out_files(setup.pipeline.model_path));
  if (left_out.empty()) return absl::OkStatus();
  constexpr size_t kShown = 20;
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(left_out.size(), kShown); ++i)
    texts.push_back(absl::StrCat(printable(left_out[i].name), " (", left_out[i].why, ")"));
  setup.remarks.push_back(absl::StrCat(
      "no part of exports: ", absl::StrJoin(texts, ", "),
      left_out.size() > kShown ? absl::StrCat(" and ", left_out.size() - kShown, " more") : ""));
  return absl::OkStatus();
}

// The last windows of the first evaluation, else of the calibration.
void choose_verification(RunSetup& setup) {
  const int64_t wanted = setup.pipeline.exports.empty() ? 0 : setup.pipeline.run.verify_windows;
  const SequenceSet& source =
      setup.evaluation->sets().empty() ? setup.calibration : setup.evaluation->sets()[0].sequences;
  TokenSet tokens;
  const int64_t count = source.sequence_count();
  for (int64_t i = std::max<int64_t>(0, count - wanted); i < count; ++i) {
    tokens.sequences.push_back(source.tokens().sequences[static_cast<size_t>(i)]);
    if (source.has_inputs())
      tokens.inputs.push_back(source.tokens().inputs[static_cast<size_t>(i)]);
  }
  if (setup.pipeline.run.verify_windows == 0)
    setup.why_no_windows = "[run] verify_windows is 0";
  else if (tokens.sequences.empty())
    setup.why_no_windows = "neither an evaluation nor a calibration draws any";
  if (tokens.sequences.empty()) return;
  setup.verification =
      SequenceSet(std::move(tokens), micro_batch(setup), setup.model->options().device);
}

// Static scales are those of what was seen; a linear that no token reaches has none.
void warn_of_unreached(RunSetup& setup, const std::vector<LinearSummary>& planned) {
  if (setup.pipeline.calibration && setup.pipeline.calibration->experts_seen < 0) return;
  const auto is_static = [&](const LinearSummary& linear) {
    return linear.kept_by.empty() && setup.carried.count(linear.name) == 0 && linear.activation &&
           !linear.activation->input_levels(-1, 1).empty();
  };
  if (std::none_of(planned.begin(), planned.end(), is_static)) return;
  const std::vector<std::string>& routed = setup.model->ledger().routed;
  const std::set<std::string> unsure(routed.begin(), routed.end());
  const auto count = std::count_if(planned.begin(), planned.end(), [&](const auto& linear) {
    return is_static(linear) && unsure.count(linear.name) > 0;
  });
  if (count == 0) return;
  setup.remarks.push_back(absl::StrCat(
      count,
      " linears have static activation scales although only some tokens reach them (experts): "
      "where none does, the run ends; [calibration] experts = \"all\" lets every token in, dynamic "
      "scales need none"));
}

absl::Status make_exporters(RunSetup& setup) {
  if (setup.pipeline.exports.empty()) return absl::OkStatus();
  std::vector<LinearSummary> planned = setup.planned;
  warn_of_unreached(setup, planned);
  for (const PlannedStep& step : setup.steps) {
    for (LinearSummary& linear : planned) {
      if (setup.carried.count(linear.name) > 0) continue;
      linear.may_transform_input |= step.needs.leaves_online_transforms();
      linear.may_have_sides |= step.needs.leaves_sides();
      linear.may_have_mask |= step.needs.leaves_masks();
    }
  }
  for (const ExportSpec& spec : setup.pipeline.exports) {
    SWAGE_ASSIGN_OR_RETURN(
        auto exporter,
        setup.loader->exporter(spec.use, spec.params, absl::StrCat("export \"", spec.name, "\"")));
    setup.writers.emplace_back(spec, std::move(exporter), setup.pipeline.run.work);
    SWAGE_ASSIGN_OR_RETURN(const auto asked, planned_for(setup, setup.writers.back(), planned));
    const RemarkLog said;
    SWAGE_RETURN_IF_ERROR(setup.writers.back().check(asked));
    SWAGE_RETURN_IF_ERROR(setup.writers.back().check_source(*setup.model));
    SWAGE_RETURN_IF_ERROR(check_serve(spec, asked, *setup.model));
    for (const std::string& text : said.texts())
      setup.remarks.push_back(absl::StrCat("export \"", spec.name, "\": ", printable(text)));
  }
  return absl::OkStatus();
}

Value plugin_value(const PluginEntry& plugin) {
  return Value(Value::Table{{"version", plugin.manifest.version}, {"build_id", plugin.build_id}});
}

}  // namespace

const LinearSummary* RunSetup::planned_end(LinearPlace place) const {
  const auto found = std::find_if(planned.begin(), planned.end(), [&](const LinearSummary& linear) {
    return linear.place == place && place != LinearPlace::kBlock && carried.count(linear.name) == 0;
  });
  return found != planned.end() ? &*found : nullptr;
}

bool RunSetup::measures_head() const {
  const LinearSummary* const head = planned_end(LinearPlace::kHead);
  return head != nullptr && std::any_of(steps.begin(), steps.end(), [&](const PlannedStep& step) {
           return step.needs.stream() != Stream::kNone && works_on(*step.step, head->name);
         });
}

Value RunSetup::identity() const {
  Value::Table plugins;
  const auto take = [&](const PluginEntry& plugin) {
    plugins[plugin.manifest.id] = plugin_value(plugin);
  };
  const auto add = [&](const char* kind, const std::string& name) {
    const auto found = catalog.find(kind, name);
    if (found.ok()) take(*found->plugin);
  };
  const AdapterRules& rules = model->rules();
  take(*rules.adapter.plugin);
  if (rules.language) take(*rules.language->plugin);
  if (model->quantized()) {
    if (const auto reader = catalog.find_reader(model->form().method); reader.ok())
      take(*reader->plugin);
  }
  for (const Step& step : pipeline.steps) add("algorithm", step.use);
  for (const LinearSummary& linear : planned) {
    for (const auto& codec : {linear.weight, linear.activation}) {
      const auto found = codec ? catalog.find("format", codec->format())
                               : absl::StatusOr<Catalog::Found>(absl::NotFoundError(""));
      if (found.ok() && !found->plugin->file.empty()) take(*found->plugin);  // not built in
    }
  }
  for (const EvaluateSpec& spec : pipeline.evaluates) add("evaluator", spec.use);
  for (const ExportSpec& spec : pipeline.exports) add("exporter", spec.use);
  Value::List windows;
  for (const Evaluation::Set& set : evaluation->sets())
    windows.push_back(Value(set.sequences.digest()));
  return Value(Value::Table{{"pipeline", pipeline.effective},
                            {"plugins", std::move(plugins)},
                            {"model", model->checkpoint().identity()},
                            {"side_files", side_files},
                            {"calibration_ids", calibration.empty() ? "" : calibration.digest()},
                            {"evaluation_ids", std::move(windows)}});
}

Value RunSetup::origin() const {
  Value::Table data, evaluated;
  for (const DrawnData& one : drawn) {
    (&one == &drawn.front() && !calibration.empty() ? data["calibration"] : evaluated[one.name]) =
        to_value(one);
  }
  if (!evaluated.empty()) data["evaluate"] = Value(std::move(evaluated));
  return Value(Value::Table{{"data", Value(std::move(data))},
                            {"notes", Value(Value::List(remarks.begin(), remarks.end()))}});
}

std::string RunSetup::state_file(int64_t border) const {
  return (fs::path(pipeline.run.work) / "state" /
          absl::StrFormat("border-%05d.safetensors", border))
      .string();
}

std::string RunSetup::verified_file() const {
  return (fs::path(pipeline.run.work) / "state" / "verified.safetensors").string();
}

absl::StatusOr<std::unique_ptr<RunSetup>> set_up_run(LoadedPipeline loaded,
                                                     OpenedModel::Compare compare) {
  auto setup = std::make_unique<RunSetup>();
  setup->pipeline = std::move(loaded.pipeline);
  setup->catalog = std::move(loaded.catalog);
  setup->loader = std::make_unique<Loader>(setup->catalog);
  SWAGE_RETURN_IF_ERROR(open_the_model(*setup, compare));
  SWAGE_ASSIGN_OR_RETURN(setup->steps, plan_steps(setup->pipeline, setup->catalog, *setup->loader));
  SWAGE_RETURN_IF_ERROR(check_order(setup->steps, *setup->model, *setup->loader));
  SWAGE_RETURN_IF_ERROR(keep_tied(*setup));
  SWAGE_RETURN_IF_ERROR(check_ends(*setup));
  SWAGE_RETURN_IF_ERROR(make_exporters(*setup));
  SWAGE_RETURN_IF_ERROR(draw_calibration(*setup));
  SWAGE_ASSIGN_OR_RETURN(setup->evaluation,
                         Evaluation::prepare(setup->pipeline.evaluates, *setup->model,
                                             *setup->loader, micro_batch(*setup)));
  choose_verification(*setup);
  const auto& evaluated = setup->evaluation->drawn();
  setup->drawn.insert(setup->drawn.end(), evaluated.begin(), evaluated.end());
  SWAGE_RETURN_IF_ERROR(look_for_work(*setup));
  SWAGE_RETURN_IF_ERROR(tell_left_out(*setup));
  for (const DrawnData& drawn : setup->drawn) {
    for (std::string& remark : remarks_on(drawn)) setup->remarks.push_back(std::move(remark));
  }
  return setup;
}

}  // namespace swage
