// The layout of pmx's weight-only operators under Hugging Face's names, so that the host reads it;
// opmx_names.json says which name each tensor has in pmx's model.pth.
#include "absl/strings/str_cat.h"
#include "opmx.h"
#include "pmx_layout.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"
#include "swage/remark.h"
#include "swage/source_check.h"
#include "swage/status.h"
#include "swage/store/half_parameter.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"

namespace {

using namespace swage;
using namespace swage::ppl;

constexpr int kUnsigned = 8;  // pmx counts codes of 4 bits from 0

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status wrong(const char* key, const Value& found, const std::string& expected) {
  return refused(absl::StrCat("config.json: quantization_config.", key, " is ", to_json(found, -1),
                              ", expected ", expected));
}

struct Description {
  store::IntegerForm form;
  at::ScalarType scale_dtype = at::kHalf;

  // pmx's T1.
  at::ScalarType stored() const { return scale_dtype == at::kFloat ? at::kFloat : at::kHalf; }
};

absl::StatusOr<Description> describe(const LinearSummary& linear) {
  if (linear.activation) return refused("its inputs stay in floats; leave activation out");
  Description description;
  SWAGE_ASSIGN_OR_RETURN(description.form, store::integer_form(*linear.weight));
  const store::IntegerForm& form = description.form;
  if (form.bits != 4 && form.bits != 8) return refused("it has codes of 4 or 8 bits");
  if (form.float_zeros) return refused("its zero points are codes; use zero = \"int\"");
  const int64_t width = form.group_width(linear.in);
  if (linear.in % width != 0)
    return refused(absl::StrCat("groups of ", width, " do not fill rows of ", linear.in,
                                "; use a group size that divides ", linear.in));
  if (form.bits == 4 && linear.out % 4 != 0)
    return refused(absl::StrCat("four rows share a word and the linear has ", linear.out));
  description.scale_dtype = store::scale_type(linear);
  return description;
}

absl::StatusOr<Description> from_config(const Value& config) {
  if (config["quant_method"] != Value("ppl"))
    return wrong("quant_method", config["quant_method"], "\"ppl\"");
  Description description;
  store::IntegerForm& form = description.form;
  const Value& type = config["quant_data_type"];
  if (type != Value("int4") && type != Value("int8"))
    return wrong("quant_data_type", type, "\"int4\" or \"int8\"");
  form.bits = type == Value("int4") ? 4 : 8;
  if (config["quant_axis"] != Value(1)) return wrong("quant_axis", config["quant_axis"], "1");
  const bool* const zeros = config["has_zeropoint"].boolean();
  if (zeros == nullptr) return wrong("has_zeropoint", config["has_zeropoint"], "true or false");
  form.symmetric = !*zeros;
  const Value& group = config["group_size"];
  constexpr int64_t kGreatest = int64_t{1} << 40;
  const bool fits =
      group.integer() != nullptr && *group.integer() >= 0 && *group.integer() <= kGreatest;
  if (!fits) return wrong("group_size", group, "the columns of a group, or 0 for whole rows");
  form.group = *group.integer();
  const Value& name = config["scale_dtype"];
  description.scale_dtype =
      name.text() == nullptr ? at::ScalarType::Undefined : store::dtype_named(*name.text());
  if (description.scale_dtype == at::ScalarType::Undefined)
    return wrong("scale_dtype", name, "a dtype such as \"float16\"");
  return description;
}

class Ppl final : public store::HfExporter, public SourceCheck {
 public:
  explicit Ppl(const Params& params)
      : HfExporter("PPL", params), shard_bytes_(params.i64("shard_size") << 20) {}

  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    return store::put_half(parameter, "PPL", sink);
  }

  absl::Status check_source(const ExportSource& source) const override {
    std::vector<std::string> names;
    for (const auto& [name, shape] : source.shapes) names.push_back(name);
    SWAGE_RETURN_IF_ERROR(opmx_params(source.config).status());
    SWAGE_RETURN_IF_ERROR(head_dim_of(source.config).status());
    return opmx_names(source.config, names).status();
  }

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == kSourceCheck ? static_cast<const SourceCheck*>(this) : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    SWAGE_RETURN_IF_ERROR(check_name(linear.name));
    return describe(linear).status();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    const std::vector<LinearSummary> compressed = store::compressed_of(planned);
    for (const LinearSummary& linear : planned) {
      if (linear.kept_by.empty() || !rotates(linear.name)) continue;
      return refused(absl::StrCat(linear.name,
                                  " is kept: the rows of query and key change their order, which "
                                  "needs them compressed; compress it too"));
    }
    for (const LinearSummary& linear : compressed) {
      SWAGE_ASSIGN_OR_RETURN(const Description first, describe(compressed.front()));
      SWAGE_ASSIGN_OR_RETURN(const Description other, describe(linear));
      const bool alike =
          first.form.bits == other.form.bits && first.form.group == other.form.group &&
          first.form.symmetric == other.form.symmetric && first.scale_dtype == other.scale_dtype;
      if (!alike)
        return refused(absl::StrCat(compressed.front().name, " and ", linear.name,
                                    " have different schemes: pmx's model has one; give all "
                                    "linears one scheme"));
    }
    if (!compressed.empty())
      remark(
          "PPL: its server quantizes fp16 models itself when it loads them; this layout is for "
          "models that are built of pmx's weight-only operators, of model_type llama alone, and "
          "model.pth is made from it as docs/formats.md says");
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    LinearSummary summary;
    summary.out = linear.out();
    summary.in = linear.in();
    summary.weight = linear.codec();
    summary.scale_dtype = linear.part("scales").scalar_type();
    SWAGE_ASSIGN_OR_RETURN(const Description description, describe(summary));
    const bool packed = description.form.bits == 4;
    const at::Tensor& codes = linear.part("codes");
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".qweight", packed ? pack_rows(codes) : codes));
    SWAGE_ASSIGN_OR_RETURN(at::Tensor scales,
                           store::cast_exactly(linear.part("scales"), description.stored()));
    at::Tensor zeros = linear.part("zeros");
    if (zeros.defined() && packed) zeros = zeros + kUnsigned;
    if (description.form.group == 0) {  // one number a row
      scales = scales.flatten();
      if (zeros.defined()) zeros = zeros.flatten();
    }
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".scale", scales));
    if (!zeros.defined()) return absl::OkStatus();
    return sink.put(linear.name() + ".zeropoint", zeros);
  }

  absl::StatusOr<Value> quantization(const ExportContext& context) const override {
    const LinearSummary first = store::compressed_of(context.linears()).front();
    SWAGE_ASSIGN_OR_RETURN(const Description description, describe(first));
    return Value(Value::Table{{"quant_method", "ppl"},
                              {"quant_data_type", description.form.bits == 4 ? "int4" : "int8"},
                              {"quant_axis", 1},
                              {"group_size", description.form.group},
                              {"has_zeropoint", !description.form.symmetric},
                              {"scale_dtype", store::dtype_name(description.scale_dtype)}});
  }

  absl::Status complete(const ExportContext& context, Value::Table* config,
                        SideFiles* files) const override {
    if (config->count("dtype") != 0) (*config)["dtype"] = "float16";
    if (config->count("torch_dtype") != 0 || config->count("dtype") == 0)
      (*config)["torch_dtype"] = "float16";
    SWAGE_ASSIGN_OR_RETURN(const Value params, opmx_params(context.model_config()));
    SWAGE_ASSIGN_OR_RETURN(const Value names,
                           opmx_names(context.model_config(), context.tensors().names()));
    files->emplace_back("opmx_params.json", to_json(params) + "\n");
    files->emplace_back("opmx_names.json", to_json(names) + "\n");
    return absl::OkStatus();
  }

  absl::Status lay_out(const ExportContext& context, const Value& config,
                       const SideFiles& files) const override {
    SWAGE_ASSIGN_OR_RETURN(const int64_t head_dim, head_dim_of(context.model_config()));
    for (const LinearSummary& linear : context.linears()) {
      if (!rotates(linear.name) || linear.out % head_dim == 0) continue;
      return refused(absl::StrCat(linear.name, " has ", linear.out,
                                  " rows, expected a multiple of head_dim ", head_dim));
    }
    const auto tensors = interleaved_source(context.tensors(), head_dim);
    return io::write_hf_checkpoint(context.directory(), *tensors, config, files, shard_bytes_);
  }

  // As pmx has the rows; `out` of them.
  absl::StatusOr<Parts> read_parts(const store::StoredModule& module,
                                   const Description& description, int64_t out, int64_t in) const {
    const store::IntegerForm& form = description.form;
    const bool packed = form.bits == 4;
    const std::vector<int64_t> words = {packed ? out / 4 : out, in};
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes,
                           module.read("qweight", {packed ? at::kShort : at::kChar}, words));
    const int64_t groups = in / form.group_width(in);
    const std::vector<int64_t> shape =
        form.group == 0 ? std::vector<int64_t>{out} : std::vector<int64_t>{out, groups};
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored,
                           module.read("scale", {description.stored()}, shape));
    Parts parts = {{"codes", packed ? unpack_rows(codes) : codes}};
    SWAGE_ASSIGN_OR_RETURN(
        parts["scales"], store::cast_exactly(stored.view({out, groups}), description.scale_dtype));
    if (form.symmetric) {
      SWAGE_RETURN_IF_ERROR(module.expect_absent("zeropoint", "none without has_zeropoint"));
      return parts;
    }
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor zeros, module.read("zeropoint", {at::kChar}, shape));
    parts["zeros"] = packed ? zeros.view({out, groups}) - kUnsigned : zeros.view({out, groups});
    return parts;
  }

  absl::StatusOr<Result> read(const store::StoredModule& module,
                              const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const Description description,
                           from_config(config["quantization_config"]));
    if (!module.has("qweight")) return module.plain(module.full("qweight") + " is missing");
    SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape("qweight", 2));
    const int64_t out = description.form.bits == 4 ? shape[0] * 4 : shape[0], in = shape[1];
    if (in % description.form.group_width(in) != 0)
      return module.wrong("qweight", absl::StrCat(in, " columns"), "whole groups");
    SWAGE_ASSIGN_OR_RETURN(Parts parts, read_parts(module, description, out, in));
    if (rotates(module.name())) {
      SWAGE_ASSIGN_OR_RETURN(const int64_t head_dim, head_dim_of(config));
      if (out % head_dim != 0)
        return module.wrong("qweight", absl::StrCat(out, " rows"),
                            absl::StrCat("a multiple of head_dim ", head_dim));
      for (auto& [name, tensor] : parts) tensor = split_in_halves(tensor, head_dim);
    }
    SWAGE_ASSIGN_OR_RETURN(auto codec, store::integer_codec(description.form));
    return Result(module.name(), std::move(codec), out, in, std::move(parts));
  }

  const int64_t shard_bytes_;
};

}  // namespace

SWAGE_EXPORTER(Ppl, "ppl");
