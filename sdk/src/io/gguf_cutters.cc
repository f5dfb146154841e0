#include "gguf_cutters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kCased =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseekWords =
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const std::vector<GgufCutter>& cutters() {
  static const std::vector<GgufCutter> all = {
      {"gpt-2", false, {}, true},
      {"default", false, {}, true},
      {"olmo", false, {}, true, false, {"olmo"}},
      {"smollm", true, {}, true},
      {"starcoder", true, {}, true, false, {"starcoder2"}},
      {"refact", true, {}, true},
      {"command-r", true, {}, true, false, {"cohere", "cohere2"}},
      {"llama-bpe", false, {kLlama3}, false, true},
      {"llama3", false, {kLlama3}, false, true},
      {"llama-v3", false, {kLlama3}, false, true},
      {"smaug-bpe", false, {kLlama3}},
      {"dbrx", false, {kLlama3}},
      {"glm4", false, {kLlama3}, false, false, {"glm", "glm4", "glm4_moe"}},
      {"chatglm-bpe", false, {kLlama3}},
      {"qwen2", false, {kQwen2}},
      {"stablelm2", false, {kQwen2}, false, false, {"stablelm"}},
      {"deepseek-r1-qwen", false, {kQwen2}},
      {"gpt-4o", false, {kCased}},
      {"tekken", false, {kTekken}, false, true},
      {"deepseek-v3", false, {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseekWords}}};
  return all;
}

// What a pre-tokenizer of tokenizer.json does; false when llama.cpp has nothing alike.
struct Form {
  bool digits = false, byte_level = false, byte_level_pattern = false;
  std::vector<std::string> patterns;
};

bool read_form(const Value& part, Form* form) {
  const std::string type = part.str("type", "");
  if (type == "Sequence") {
    const Value::List* parts = part["pretokenizers"].list();
    return parts != nullptr && std::all_of(parts->begin(), parts->end(), [&](const Value& inner) {
             return read_form(inner, form);
           });
  }
  if (form->byte_level) return false;  // it comes last
  if (type == "Digits") {
    form->digits = true;
    return part.flag("individual_digits", false) && form->patterns.empty();
  }
  if (type == "Split") {
    form->patterns.push_back(part["pattern"].str("Regex", ""));
    return part.str("behavior", "") == "Isolated" && !part.flag("invert", false);
  }
  form->byte_level = true;
  form->byte_level_pattern = part.flag("use_regex", true);
  return type == "ByteLevel" && !part.flag("add_prefix_space", true);
}

bool same(const GgufCutter& cutter, const Form& form) {
  return cutter.digits == form.digits && cutter.byte_level_pattern == form.byte_level_pattern &&
         std::equal(cutter.patterns.begin(), cutter.patterns.end(), form.patterns.begin(),
                    form.patterns.end(),
                    [](const char* a, const std::string& b) { return a == b; });
}

}  // namespace

const GgufCutter* gguf_cutter(const std::string& name) {
  for (const GgufCutter& cutter : cutters()) {
    if (name == cutter.name) return &cutter;
  }
  return nullptr;
}

Value pre_tokenizer_of(const GgufCutter& cutter) {
  Value::List parts;
  if (cutter.digits) parts.push_back(Value::Table{{"type", "Digits"}, {"individual_digits", true}});
  for (const char* pattern : cutter.patterns) {
    parts.push_back(Value::Table{{"type", "Split"},
                                 {"pattern", Value::Table{{"Regex", pattern}}},
                                 {"behavior", "Isolated"},
                                 {"invert", false}});
  }
  parts.push_back(Value::Table{{"type", "ByteLevel"},
                               {"add_prefix_space", false},
                               {"trim_offsets", true},
                               {"use_regex", cutter.byte_level_pattern}});
  if (parts.size() == 1) return parts.front();
  return Value::Table{{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

absl::StatusOr<const GgufCutter*> gguf_cutter_of(const Value& tokenizer,
                                                 const std::string& family) {
  Form form;
  const bool known = read_form(tokenizer["pre_tokenizer"], &form) && form.byte_level;
  const bool whole_words = tokenizer["model"].flag("ignore_merges", false);
  const GgufCutter* found = nullptr;
  for (const GgufCutter& cutter : cutters()) {
    if (!known || !same(cutter, form) || cutter.whole_words != whole_words) continue;
    const auto& families = cutter.families;
    const bool chosen = std::any_of(families.begin(), families.end(),
                                    [&](const char* one) { return family == one; });
    if (chosen) return &cutter;
    if (found == nullptr && families.empty()) found = &cutter;
  }
  if (found != nullptr) return found;
  return absl::UnimplementedError(absl::StrCat(
      "tokenizer.json: its pre-tokenizer",
      form.patterns.empty() ? ""
                            : absl::StrCat(" (\"", absl::StrJoin(form.patterns, "\", \""), "\")"),
      " is none that llama.cpp is known to have"));
}

}  // namespace swage::io
