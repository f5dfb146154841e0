#include "swage/store/fp8_blocks.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"
#include "swage/store/fp8_form.h"
#include "swage/store/hf_exporter.h"

namespace swage::store {
namespace {

constexpr char kScale[] = "weight_scale_inv", kBlock[] = "weight_block_size";
constexpr const char* kLists[] = {"ignored_layers", "modules_to_not_convert"};

absl::Status refused(const std::string& why) { return absl::InvalidArgumentError(why); }

// Whole parts of the path alone: "mlp.gate" is not "mlp.gate_proj".
bool is_in(const Value& list, const std::string& module) {
  if (list.list() == nullptr) return false;
  return std::any_of(list.list()->begin(), list.list()->end(), [&](const Value& entry) {
    return entry.text() != nullptr &&
           absl::StrContains(absl::StrCat(".", module, "."), absl::StrCat(".", *entry.text(), "."));
  });
}

absl::StatusOr<Fp8Form> block_of(const Value& quantization) {
  const Value::List* const sides = quantization[kBlock].list();
  const auto side = [&](size_t i) {
    const int64_t* const number =
        sides != nullptr && sides->size() == 2 ? (*sides)[i].integer() : nullptr;
    return number != nullptr && *number < StoredModule::kGreatestSide ? *number : 0;
  };
  const Fp8Form form{Fp8Form::Extent::kBlock, side(0), side(1)};
  if (form.rows > 0 && form.columns > 0) return form;
  return refused(absl::StrCat("quantization_config.", kBlock, " is ",
                              to_json(quantization[kBlock], -1), ", expected two sizes above 0"));
}

}  // namespace

void put_float_modules(const ExportContext& context, Value::Table* config) {
  std::vector<std::string> modules = float_modules(context);
  // A head that is tied to the embedding has no tensor, and readers may have a module all the same.
  constexpr char kHead[] = "lm_head";
  if (std::find(modules.begin(), modules.end(), kHead) == modules.end()) modules.push_back(kHead);
  for (const char* list : kLists) (*config)[list] = Value::List(modules.begin(), modules.end());
}

absl::StatusOr<bool> in_floats(const StoredModule& module, const Value& quantization) {
  bool any = false;
  for (const char* list : kLists) {
    any = any || quantization[list].list() != nullptr;
    if (is_in(quantization[list], module.name())) return true;
  }
  if (!module.holds_floats()) return false;
  if (!any) return true;
  return module.wrong("weight", "in floats",
                      "fp8: neither ignored_layers nor modules_to_not_convert names it");
}

absl::Status check_fp8_blocks(const LinearSummary& linear) {
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, fp8_form(*linear.weight));
  SWAGE_RETURN_IF_ERROR(check_fp32_scales(linear));
  for (const auto& [side, block, what] : {std::tuple(linear.out, form.rows, "rows"),
                                          std::tuple(linear.in, form.columns, "columns")}) {
    if (side % block != 0)
      return refused(absl::StrCat("its ", side, " ", what, " are no multiple of ", block,
                                  ", and readers refuse blocks that are cut; use a size that "
                                  "divides them, or keep this linear"));
  }
  const std::string wanted = absl::StrCat(
      "{ format = \"fp8-e4m3\", granularity = \"group\", group = ", form.columns, " }");
  if (!linear.activation)
    return refused("its readers quantize inputs, too; write activation = " + wanted);
  SWAGE_ASSIGN_OR_RETURN(const Fp8Input input, fp8_input(*linear.activation));
  if (input.dynamic && input.group == form.columns) return absl::OkStatus();
  return refused("its readers scale inputs by groups as wide as a block; write activation = " +
                 wanted);
}

absl::Status put_fp8_blocks(const Result& linear, TensorSink& sink) {
  return put_fp8(linear, kScale, sink);
}

absl::Status check_one_block(const std::vector<LinearSummary>& planned) {
  const LinearSummary* first = nullptr;
  for (const LinearSummary& linear : planned) {
    if (!linear.kept_by.empty()) continue;
    if (first == nullptr) first = &linear;
    if (linear.weight->form() == first->weight->form()) continue;
    return refused(absl::StrCat(linear.name, " is ", linear.weight->describe(), " and ",
                                first->name, " is ", first->weight->describe(),
                                ": quantization_config states one scheme for all; give both the "
                                "same, or keep one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> fp8_blocks_config(const ExportContext& context) {
  const std::vector<LinearSummary> compressed = compressed_of(context.linears());
  SWAGE_RETURN_IF_ERROR(check_one_block(compressed));
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, fp8_form(*compressed.front().weight));
  Value::Table config = {{"quant_method", "fp8"},
                         {"fmt", "e4m3"},
                         {"activation_scheme", "dynamic"},
                         {kBlock, Value::List{form.rows, form.columns}}};
  put_float_modules(context, &config);
  return Value(std::move(config));
}

absl::StatusOr<Result> read_fp8_blocks(const StoredModule& module, const Value& quantization) {
  for (const auto& [key, expected] :
       {std::pair("fmt", "e4m3"), std::pair("activation_scheme", "dynamic"),
        std::pair("scale_fmt", "float")}) {
    const Value& found = quantization[key];
    if (found.is_null() || found == Value(expected)) continue;
    return refused(absl::StrCat("quantization_config.", key, " is ", to_json(found, -1),
                                ", expected \"", expected, "\" (or none) beside ", kBlock));
  }
  SWAGE_ASSIGN_OR_RETURN(const Fp8Form form, block_of(quantization));
  SWAGE_RETURN_IF_ERROR(module.expect_absent("input_scale", "none: inputs have dynamic scales"));
  SWAGE_ASSIGN_OR_RETURN(Result linear, read_fp8(module, form, kScale));
  Fp8Input input;
  input.group = form.columns;
  SWAGE_ASSIGN_OR_RETURN(auto codec, fp8_input_codec(input));
  linear.set_activation(ActivationQuantizer{std::move(codec), {}});
  return linear;
}

}  // namespace swage::store
