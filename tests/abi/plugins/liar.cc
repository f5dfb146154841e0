// Writes floats, honestly or as `how` says, and claims in every case that this is what was meant.
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"
#include "swage/status.h"

namespace {

using namespace swage;

class Liar final : public Exporter {
 public:
  explicit Liar(const Params& params) : how_(params.text("how")) {}

  absl::Status check(const std::vector<LinearSummary>&) override { return absl::OkStatus(); }

  Result stored_form(const Result& linear) const override {
    at::Tensor weight = decode_whole(linear);
    if (how_ == "stored_form") weight = weight * 1.001;
    if (how_ == "other_form") weight = at::zeros_like(weight);
    if (how_ == "bf16") weight = weight.to(at::kBFloat16);
    return dense_result(linear.name(), weight);
  }

  absl::Status encode(const Result& linear, TensorSink& sink) override {
    ++count_;
    const at::Tensor stored = stored_form(linear).part("weight");
    if (how_ == "swapped" && absl::StrContains(linear.name(), "layers.0.mlp.")) {
      const bool gate = absl::EndsWith(linear.name(), "gate_proj");
      if (gate || absl::EndsWith(linear.name(), "up_proj"))
        return sink.put(absl::StrCat("model.layers.0.mlp.", gate ? "up" : "gate", "_proj.weight"),
                        stored);
    }
    if (how_ == "unread") SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".offset", at::ones({2})));
    if (how_ != "remembers") return sink.put(linear.name() + ".weight", stored);
    remembered()[linear.name()] = stored;
    return sink.put(linear.name() + ".weight", at::zeros_like(stored));
  }

  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    const std::string& name = parameter.name;
    const at::Tensor value = parameter.value.to(parameter.storage);
    const bool norm = absl::StrContains(name, "norm");
    if (norm && how_ == "no_norms") return absl::OkStatus();
    if (norm && how_ == "norms") return sink.put(name, value * 1.01);
    if (how_ == "one_norm" && name == "model.layers.1.input_layernorm.weight")
      return sink.put(name, value + 1e-6);
    if (how_ == "kept" && absl::StrContains(name, "_proj.weight")) return sink.put(name, -value);
    if (how_ == "renamed" && norm) return sink.put("new." + name, value);
    if (how_ == "more" && name == "model.norm.weight")
      SWAGE_RETURN_IF_ERROR(sink.put("model.extra.weight", value.clone()));
    return sink.put(name, value);
  }

  absl::Status finish(ExportContext& context) override {
    SWAGE_ASSIGN_OR_RETURN(auto side_files, context.side_files());
    if (how_ == "no_tokenizer") side_files.clear();
    if (how_ == "other_tokenizer") side_files.front().second += " ";
    if (how_ == "template") side_files.emplace_back("chat_template.jinja", "{{ messages }}");
    if (how_ == "readme") side_files.emplace_back("liar.md", "honest");
    if (how_ == "counts") side_files.emplace_back("count.txt", absl::StrCat(count_));
    Value config = context.model_config();
    if (how_ == "config") (*config.table())["rope_theta"] = 10001.0;
    if (how_ == "no_key") config.table()->erase("rms_norm_eps");
    if (how_ == "more_keys") (*config.table())["sliding_window"] = int64_t{8};
    return io::write_hf_checkpoint(context.directory(), context.tensors(), config, side_files,
                                   int64_t{1} << 30);
  }

  absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                const Value&) override {
    SWAGE_ASSIGN_OR_RETURN(at::Tensor weight, tensors.read(linear + ".weight"));
    const auto known = remembered().find(linear);
    if (how_ == "remembers" && known != remembered().end()) weight = known->second;
    return dense_result(linear, std::move(weight));
  }

 private:
  static std::map<std::string, at::Tensor>& remembered() {
    static std::map<std::string, at::Tensor> all;
    return all;
  }
  const std::string how_;
  int64_t count_ = 0;
};

}  // namespace

SWAGE_EXPORTER(Liar, "liar");
