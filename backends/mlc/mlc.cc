// Folders that MLC-LLM loads and the host reads: safetensors files, in which tensor-cache.json
// names the places of MLC's parameters. MLC's value is (code - 7) · scale with codes of 0 to 14 of
// its own; 7 - q under the negated scale is the same as q under the scale, for all q of int4.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "mlc_model.h"
#include "swage/io/joined_tensors.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/source_check.h"
#include "swage/status.h"
#include "swage/store/half_parameter.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"
#include "swage/store/packing.h"
#include "tensor_cache.h"

namespace {

using namespace swage;
using namespace swage::mlc;

constexpr char kQuantization[] = "q4f16_2";
constexpr char kChatConfig[] = "mlc-chat-config.json";
constexpr int kBits = 4;
constexpr int64_t kGroup = 32;

absl::Status wrong(const char* key, const Value& found, const std::string& expected) {
  return absl::InvalidArgumentError(absl::StrCat("config.json: quantization_config.", key, " is ",
                                                 to_json(found, -1), ", expected ", expected));
}

class Mlc final : public store::HfExporter, public SourceCheck {
 public:
  explicit Mlc(const Params& params)
      : HfExporter("MLC", params), shard_bytes_(params.i64("shard_size") << 20) {}

  // All of MLC's model is fp16.
  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    return store::put_half(parameter, kQuantization, sink);
  }

  absl::Status check_source(const ExportSource& source) const override {
    std::vector<std::string> names;
    for (const auto& [name, shape] : source.shapes) names.push_back(name);
    return mlc_parameters(source.config, names).status();
  }

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == kSourceCheck ? static_cast<const SourceCheck*>(this) : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    const auto refused = [](const std::string& why) { return absl::InvalidArgumentError(why); };
    SWAGE_RETURN_IF_ERROR(check_name(linear.name));
    if (linear.activation) return refused("its inputs stay in floats; leave activation out");
    SWAGE_ASSIGN_OR_RETURN(const store::IntegerForm form, store::integer_form(*linear.weight));
    if (form.bits != kBits || form.group != kGroup || !form.symmetric || linear.in % kGroup != 0)
      return refused(absl::StrCat(kQuantization,
                                  " has symmetric codes of 4 bits in whole groups of 32; use "
                                  "bits = 4, group = 32, symmetric = true"));
    const at::ScalarType type = store::scale_type(linear);
    if (type != at::kHalf && type != at::kBFloat16)
      return refused(absl::StrCat("its scales are fp16, and these are ", store::dtype_name(type),
                                  "; write scale_dtype = \"fp16\" into the weight scheme"));
    return absl::OkStatus();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(planned);
    if (compressed.empty()) return absl::OkStatus();
    for (const LinearSummary& linear : planned) {
      if (!linear.kept_by.empty() && linear.place == LinearPlace::kBlock)
        return absl::InvalidArgumentError(
            absl::StrCat(linear.name, ": MLC quantizes every linear of a block, and this one is ",
                         "kept; compress it, or export with use = \"awq\" or \"huggingface\""));
      if (linear.kept_by.empty() &&
          store::scale_type(linear) != store::scale_type(compressed.front()))
        return absl::InvalidArgumentError(absl::StrCat(
            linear.name, " and ", compressed.front().name,
            " have scales in different dtypes; write scale_dtype = \"fp16\" for both"));
    }
    remark(
        "MLC: models of type llama, mistral, qwen2 and qwen3 are written; a config.json of another "
        "model_type is refused when the export is laid out");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor half,
                           store::cast_exactly(linear.part("scales"), at::kHalf));
    // pack() stores q + 8: of ~q = -1 - q that is 7 - q.
    const at::Tensor codes = linear.part("codes").bitwise_not();
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".q_weight", store::pack(codes, kBits)));
    return sink.put(linear.name() + ".q_scale", half.neg());
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const LinearSummary first = store::compressed_of(context.linears()).front();
    Value::Table config = {{"quant_method", "mlc"},
                           {"quantization", kQuantization},
                           {"bits", kBits},
                           {"group_size", kGroup}};
    if (const at::ScalarType type = store::scale_type(first); type != at::kHalf)
      config["scale_dtype"] = store::dtype_name(type);
    return Value(std::move(config));
  }

  absl::Status complete(const ExportContext& context, Value::Table* config,
                        SideFiles* files) const override {
    if (config->count("dtype") != 0) (*config)["dtype"] = "float16";
    if (config->count("torch_dtype") != 0 || config->count("dtype") == 0)
      (*config)["torch_dtype"] = "float16";
    std::vector<std::string> names;
    Value generation;
    for (const auto& [name, content] : *files) {
      names.push_back(name);
      if (name != "generation_config.json") continue;
      SWAGE_ASSIGN_OR_RETURN(generation, parse_json(content, name));
    }
    if (std::find(names.begin(), names.end(), kChatConfig) == names.end())
      files->emplace_back(kChatConfig,
                          to_json(chat_config(context.model_config(), generation, names)) + "\n");
    return absl::OkStatus();
  }

  absl::Status lay_out(const ExportContext& context, const Value& config,
                       const SideFiles& files) const override {
    SWAGE_ASSIGN_OR_RETURN(const auto parameters,
                           mlc_parameters(context.model_config(), context.tensors().names()));
    io::JoinedTensors joined;
    for (const MlcParameter& parameter : parameters)
      if (parameter.tensors.size() > 1) joined.push_back(parameter.tensors);
    SWAGE_RETURN_IF_ERROR(io::write_joined_checkpoint(context.directory(), context.tensors(),
                                                      config, files, shard_bytes_, joined));
    SWAGE_ASSIGN_OR_RETURN(const Value cache, tensor_cache(context.directory(), parameters));
    return io::write_file_atomically(context.directory() + "/tensor-cache.json",
                                     to_json(cache) + "\n");
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    const Value& block = config["quantization_config"];
    if (block["quant_method"] != Value("mlc"))
      return wrong("quant_method", block["quant_method"], "\"mlc\"");
    if (block["quantization"] != Value(kQuantization))
      return wrong("quantization", block["quantization"], "\"q4f16_2\"");
    if (block["bits"] != Value(kBits)) return wrong("bits", block["bits"], "4");
    if (block["group_size"] != Value(kGroup)) return wrong("group_size", block["group_size"], "32");
    at::ScalarType type = at::kHalf;
    if (const Value& name = block["scale_dtype"]; !name.is_null()) {
      type = name.text() == nullptr ? at::ScalarType::Undefined : store::dtype_named(*name.text());
      if (type == at::ScalarType::Undefined)
        return wrong("scale_dtype", name, "a dtype such as \"bfloat16\"");
    }
    if (!module.has("q_weight")) return module.plain(module.full("q_weight") + " is missing");
    SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape("q_weight", 2));
    const int64_t out = shape[0], in = shape[1] * 8;
    if (in % kGroup != 0)
      return module.wrong("q_weight", absl::StrCat(in, " columns"), "a multiple of 32");
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor words, module.read("q_weight", {at::kInt}, shape));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                           module.read("q_scale", {at::kHalf}, {out, in / kGroup}));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales, store::cast_exactly(stored.neg(), type));
    store::IntegerForm form;
    form.group = kGroup;
    SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec(form));
    return Result(module.name(), std::move(codec), out, in,
                  {{"codes", store::unpack(words, kBits, in).bitwise_not()}, {"scales", scales}});
  }

  const int64_t shard_bytes_;
};

}  // namespace

SWAGE_EXPORTER(Mlc, "mlc");
