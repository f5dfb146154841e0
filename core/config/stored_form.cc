#include "core/config/stored_form.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace swage {
namespace {

constexpr const char* kKey = "quantization_config";

struct Method {
  const char* method;
  const char* name;
};
constexpr Method kMethods[] = {{"gptq", "GPTQ"},
                               {"awq", "AWQ"},
                               {"bitsandbytes", "bitsandbytes"},
                               {"compressed-tensors", "compressed-tensors"},
                               {"modelopt", "ModelOpt"},
                               {"hqq", "HQQ"},
                               {"gguf", "GGUF"},
                               {"aqlm", "AQLM"},
                               {"quanto", "Quanto"},
                               {"eetq", "EETQ"},
                               {"torchao", "torchao"},
                               {"mxfp4", "MXFP4"},
                               {"auto-round", "AutoRound"},
                               {"fp8", "fp8"},
                               {"fbgemm_fp8", "fp8"},
                               {"quip", "QuIP#"},
                               {"exl2", "EXL2"},
                               {"exl3", "EXL3"}};

// What only names of packed weights have in them, and who writes them.
struct Mark {
  const char* mark;
  const char* name;
};
constexpr Mark kMarks[] = {{".qweight", "GPTQ or AWQ"},
                           {".weight_packed", "compressed-tensors"},
                           {".weight.absmax", "bitsandbytes"},
                           {".W_q", "HQQ"},
                           {".codebooks", "AQLM"},
                           {".Qidxs", "QuIP#"},
                           {".trellis", "EXL3"},
                           {".q_weight", "EXL2"},
                           {"_proj_blocks", "MXFP4"},
                           {".gguf_", "GGUF"}};

// What the tensors tell.
struct Signs {
  std::string packed, packed_by;  // a tensor that only packed weights have
  std::string integers;           // a matrix in integers
  std::string fp8, scale;         // a tensor in fp8; a scale of weights
  int64_t fp8_count = 0;
};

Signs signs_of(const io::Header& header) {
  Signs signs;
  for (const auto& [name, info] : header) {
    for (const Mark& mark : kMarks) {
      const bool there = absl::string_view(mark.mark).back() == '_'
                             ? absl::StrContains(name, mark.mark)
                             : absl::EndsWith(name, mark.mark);
      if (!signs.packed.empty() || !there) continue;
      signs.packed = name;
      signs.packed_by = mark.name;
    }
    const bool integers = info.type == io::StoredType::kI8 || info.type == io::StoredType::kU8 ||
                          info.type == io::StoredType::kI32 || info.type == io::StoredType::kU32;
    if (integers && info.shape.size() >= 2 && absl::EndsWith(name, ".weight"))
      signs.integers = name;
    const bool fp8 = info.type == io::StoredType::kF8E4M3 || info.type == io::StoredType::kF8E5M2;
    if (fp8 && signs.fp8_count++ == 0) signs.fp8 = name;
    if (absl::EndsWith(name, ".weight_scale") || absl::EndsWith(name, ".weight_scale_inv"))
      signs.scale = name;
  }
  return signs;
}

std::string bits_of(const Value& config) {
  for (const char* key : {"bits", "w_bit", "nbits", "weight_bits"}) {
    if (const int64_t* const bits = config[key].integer()) return absl::StrCat(*bits, " bits");
  }
  for (const auto& [key, text] :
       {std::pair("load_in_4bit", "4 bits"), std::pair("load_in_8bit", "8 bits")}) {
    if (config[key].boolean() != nullptr && *config[key].boolean()) return text;
  }
  const std::string* const algorithm = config["quant_algo"].text();
  return algorithm != nullptr ? *algorithm : "";
}

// What says how weights are stored.
struct Described {
  const Value& table;  // of config.json
  std::string method;  // "": none is named
  std::string by;      // "quant_method \"gptq\"", what else names it
  const char* key = kKey;
  bool by_tensor = false;
};

Described described(const Value& config, const io::Header& header,
                    const std::vector<Catalog::FormSign>& signs) {
  const Value& usual = config[kKey];
  if (const std::string* const method = usual["quant_method"].text())
    return {usual, *method, absl::StrCat("quant_method \"", *method, "\"")};
  for (const Catalog::FormSign& sign : signs) {
    if (!sign.config_key.empty() && config[sign.config_key].table() != nullptr)
      return {config[sign.config_key], sign.quant_method,
              absl::StrCat("\"", sign.config_key, "\" in config.json"), sign.config_key.c_str()};
  }
  for (const auto& [name, info] : header) {
    for (const Catalog::FormSign& sign : signs) {
      for (const std::string& end : sign.tensor_ends)
        if (absl::EndsWith(name, end)) return {usual, sign.quant_method, name, kKey, true};
    }
  }
  return {usual, "", ""};
}

// "GPTQ (quant_method "gptq", 4 bits)", "mlx ("quantization" in config.json, 4 bits)"
std::string name_of(const Described& config, const Signs& signs) {
  if (config.method.empty())
    return signs.packed_by.empty() ? "a method that config.json does not name" : signs.packed_by;
  std::string name = config.method;
  for (const Method& known : kMethods) {
    if (absl::AsciiStrToLower(config.method) == known.method) name = known.name;
  }
  const std::string bits = bits_of(config.table);
  return absl::StrCat(name, " (", config.by, bits.empty() ? "" : ", ", bits, ")");
}

std::string left_over(const Described& config) {
  const std::string* const method = config.table["quant_method"].text();
  return absl::StrCat(
      "config.json has a ", config.key,
      method != nullptr ? absl::StrCat(" (quant_method \"", *method, "\")") : "",
      ", but all weights are in floats: the key was left over, for example by a merge; remove ",
      config.key, " from config.json");
}

void judge_fp8(const Signs& signs, StoredForm* form) {
  form->problem =
      absl::StrCat(signs.fp8_count, signs.fp8_count == 1 ? " tensor is" : " tensors are",
                   " stored in fp8 (", signs.fp8,
                   "), but config.json has no "
                   "quantization_config; ");
  if (signs.scale.empty()) {
    form->problem +=
        "there are no scales either: cast them to bfloat16 (or take the original "
        "checkpoint), so that their values are stored as what they are";
  } else {
    absl::StrAppend(&form->problem, "scales lie beside them (", signs.scale,
                    "): put back the key that the checkpoint was published with, such as "
                    "{\"quant_method\": \"fp8\"}");
  }
}

}  // namespace

StoredForm stored_form(const Value& config, const io::Header& header,
                       const std::vector<Catalog::FormSign>& known) {
  const Described quantization = described(config, header, known);
  const Signs signs = signs_of(header);
  StoredForm form;
  const bool packed = !signs.packed.empty() || !signs.integers.empty() || quantization.by_tensor;
  if (quantization.table.is_null() && !packed) {
    if (signs.fp8_count > 0) judge_fp8(signs, &form);
    return form;
  }
  if (!packed && signs.fp8_count == 0 && signs.scale.empty()) {
    form.problem = left_over(quantization);
    return form;
  }
  form.compressed = true;
  form.method = quantization.method;
  form.name = name_of(quantization, signs);
  form.problem = absl::StrCat(
      "is compressed already with ", form.name,
      quantization.table.is_null()
          ? absl::StrCat(" (it holds ", signs.packed.empty() ? signs.integers : signs.packed,
                         ", though config.json has no quantization_config)")
          : "",
      "; start from the original");
  return form;
}

}  // namespace swage
