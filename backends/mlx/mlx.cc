// Checkpoints of MLX: "quantization" in config.json, for the model and for modules that differ.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "mode.h"
#include "stored_linear.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"
#include "swage/store/notes.h"
#include "swage/tied_ends.h"

namespace {

using namespace swage;

constexpr char kKey[] = "quantization";

// "model.layers.0.mlp.experts.*.up_proj" of an expert's linear: what MLX stacks; "" of others.
std::string stack_of(const std::string& linear) {
  constexpr char kExperts[] = ".experts.";
  const size_t begin = linear.find(kExperts);
  if (begin == std::string::npos) return "";
  const size_t end = linear.find('.', begin + sizeof(kExperts) - 1);
  if (end == std::string::npos) return "";
  return absl::StrCat(linear.substr(0, begin), kExperts, "*", linear.substr(end));
}

class Mlx final : public store::HfExporter {
 public:
  explicit Mlx(const Params& params) : HfExporter("MLX", params) {}

 private:
  bool takes(LinearPlace) const override { return true; }

  const void* do_query(std::string_view ability) const override {
    return ability == kTiedEnds ? this : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    return mlx::mode_of(linear).status();
  }

  // Experts of a layer become one tensor.
  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    std::map<std::string, const LinearSummary*> stacks;
    bool wide = false;
    for (const LinearSummary& linear : planned) {
      const bool kept = !linear.kept_by.empty();
      wide = wide || (!kept && linear.weight->format() == "int" &&
                      !store::integer_form(*linear.weight)->symmetric);
      const std::string stack = stack_of(linear.name);
      if (stack.empty()) continue;
      const LinearSummary& first = *stacks.try_emplace(stack, &linear).first->second;
      const bool first_kept = !first.kept_by.empty();
      if (kept == first_kept && (kept || *mlx::mode_of(linear) == *mlx::mode_of(first))) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          linear.name, " is ", kept ? "kept" : linear.weight->describe(), ", ", first.name, " ",
          first_kept ? "kept" : first.weight->describe(),
          ": mlx-lm stacks the experts of a layer; give all of them one scheme, or keep all"));
    }
    if (wide)
      remark(
          "scales in fp32 make MLX compute in fp32, which costs time; format = \"affine\" has "
          "offsets in 16 bits");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    return mlx::write_linear(linear, sink);
  }

  // The most frequent mode is the model's.
  static Value::Table table_of(const std::vector<LinearSummary>& linears) {
    std::map<std::string, int64_t> counts;
    const auto text_of = [](const LinearSummary& linear) {
      return to_json(Value(mlx::mode_of(*linear.weight)->to_table()), -1);
    };
    for (const LinearSummary& linear : linears) ++counts[text_of(linear)];
    const auto most =
        std::max_element(counts.begin(), counts.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    Value::Table table, others;
    for (const LinearSummary& linear : linears) {
      Value::Table own = mlx::mode_of(*linear.weight)->to_table();
      if (text_of(linear) == most->first)
        table = std::move(own);
      else
        others[linear.name] = Value(std::move(own));
    }
    table.merge(others);
    return table;
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const std::vector<LinearSummary> linears = store::compressed_of(context.linears());
    Value::Table table = table_of(linears);
    table[store::kNotesKey] = store::notes_of(linears, mlx::note_of);
    return Value(std::move(table));
  }

  // The same table twice, as mlx-lm writes it; readers look into the one without notes.
  absl::Status complete(const ExportContext&, Value::Table* config, SideFiles*) const override {
    const auto found = config->find("quantization_config");
    config->erase(kKey);
    if (found == config->end()) return absl::OkStatus();
    Value::Table table = *found->second.table();
    table.erase(store::kNotesKey);
    (*config)[kKey] = Value(std::move(table));
    return absl::OkStatus();
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    if (!module.has("scales")) return module.plain("there are no scales beside it");
    const Value& said = config[kKey];
    const Value& own = said[module.name()];
    const bool named = own.table() != nullptr;
    SWAGE_ASSIGN_OR_RETURN(
        const mlx::Mode mode,
        mlx::mode_from(named ? own : said,
                       named ? absl::StrCat(kKey, ".", module.name()) : std::string(kKey)));
    SWAGE_ASSIGN_OR_RETURN(
        const auto codec,
        mlx::codec_of(mode, store::note_for(config["quantization_config"], module.name())));
    return mlx::read_linear(module, mode, codec);
  }
};

}  // namespace

SWAGE_EXPORTER(Mlx, "mlx");
