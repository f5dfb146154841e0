// Checkpoints of TensorRT-LLM's own form, which trtllm-build makes engines of.
#include "absl/strings/str_cat.h"
#include "folder.h"
#include "layout.h"
#include "scheme.h"
#include "swage/folder_reader.h"
#include "swage/plugin.h"
#include "swage/source_check.h"
#include "swage/store/fused_members.h"
#include "swage/store/hf_exporter.h"

namespace {

using namespace swage;
using namespace swage::trtllm;
using Kind = Quantization::Kind;
using Linears = std::vector<LinearSummary>;

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

class TrtLlm final : public store::HfExporter, public FolderReader, public SourceCheck {
 public:
  explicit TrtLlm(const Params& params) : HfExporter("TensorRT-LLM"), ranks_(params.i64("ranks")) {}

  absl::StatusOr<std::unique_ptr<io::Checkpoint>> open_folder(
      const std::string& path) const override {
    return trtllm::open_folder(path);
  }

  absl::Status check_source(const ExportSource& source) const override {
    SWAGE_ASSIGN_OR_RETURN(const Model model, Model::of(source.config, ranks_));
    for (const auto& [name, shape] : source.shapes)
      SWAGE_RETURN_IF_ERROR(place_of(name, model).status());
    return absl::OkStatus();
  }

 private:
  const void* do_query(std::string_view ability) const override {
    if (ability == kSourceCheck) return static_cast<const SourceCheck*>(this);
    return ability == kFolderReader ? static_cast<const FolderReader*>(this) : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    if (!is_linear(linear.name))
      return refused(
          "it has names for q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj of a "
          "Llama alone; use = \"modelopt\" writes other models, which TensorRT-LLM loads, too");
    SWAGE_ASSIGN_OR_RETURN(const Quantization quantization, quantization_of(linear));
    const bool pairs = quantization.kind == Kind::kInt4;
    const auto whole = [&](int64_t side, int64_t unit, const char* what) {
      if (side % (unit * ranks_) == 0) return absl::OkStatus();
      const std::string units = unit > 1 ? absl::StrCat(" in units of ", unit) : "";
      return refused(
          absl::StrCat(side, " ", what, units, " do not divide by ", ranks_, " ranks (ranks)"));
    };
    SWAGE_RETURN_IF_ERROR(whole(linear.out, pairs ? 2 : 1, "rows"));
    return whole(linear.in, pairs ? quantization.group : 1, "columns");
  }

  // Its config states one scheme, which holds for all linears of the blocks.
  absl::Status fit_together(const Linears& planned) const override {
    const Linears compressed = store::compressed_of(planned);
    for (const LinearSummary& linear : planned) {
      if (compressed.empty() || linear.place != LinearPlace::kBlock) continue;
      if (!linear.kept_by.empty())
        return refused(absl::StrCat(linear.name, " is kept (", linear.kept_by, ") and ",
                                    compressed.front().name,
                                    " is not: TensorRT-LLM has one scheme for all; compress both"));
      const LinearSummary& first = compressed.front();
      if (linear.weight->form() == first.weight->form()) continue;
      return refused(absl::StrCat(linear.name, " is ", linear.weight->describe(), " and ",
                                  first.name, " is ", first.weight->describe(),
                                  ": TensorRT-LLM has one scheme for all; give both the same"));
    }
    if (compressed.empty() || compressed.front().weight->format() == "int") return absl::OkStatus();
    return store::check_members_share(planned);
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    const auto& activation = linear.activation();
    SWAGE_ASSIGN_OR_RETURN(
        const Quantization quantization,
        quantization_of(*linear.codec(), activation ? activation->codec.get() : nullptr));
    return write_linear(linear, quantization, sink);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    SWAGE_ASSIGN_OR_RETURN(const Quantization quantization,
                           quantization_of(store::compressed_of(context.linears()).front()));
    return trtllm::to_value(quantization);
  }

  absl::Status lay_out(const ExportContext& context, const Value& config,
                       const SideFiles& files) const override {
    return write_folder(context, config, files, ranks_);
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    const Value& stored = config["quantization_config"];
    if (stored.is_null() || !is_linear(module.name()))
      return module.plain("\"quantization\" of config.json does not name it");
    SWAGE_ASSIGN_OR_RETURN(const Quantization quantization, from_value(stored));
    return read_linear(module, quantization);
  }

  const int64_t ranks_;
};

}  // namespace

SWAGE_EXPORTER(TrtLlm, "trtllm");
