#include "core/config/foreign_names.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/config/formats.h"
#include "core/config/keys.h"

namespace swage {
namespace {

struct Word {
  const char *theirs, *key, *answer;
};

// `key`: our key with the same meaning, offered where it is known; `answer`: what to write and
// where.
constexpr Word kKeys[] = {
    {"group_size", "group", "weight = { group = 128 } in a step or [scheme]"},
    {"groupsize", "group", "weight = { group = 128 } in a step or [scheme]"},
    {"q_group_size", "group", "weight = { group = 128 } in a step or [scheme]"},
    {"num_bits", "bits", "weight = { bits = 4 } in a step or [scheme]"},
    {"wbits", "bits", "weight = { bits = 4 } in a step or [scheme]"},
    {"w_bit", "bits", "weight = { bits = 4 } in a step or [scheme]"},
    {"w_bits", "bits", "weight = { bits = 4 } in a step or [scheme]"},
    {"nbits", "bits", "weight = { bits = 4 } in a step or [scheme]"},
    {"abits", "bits", "activation = { bits = 8 } in a step or [scheme]"},
    {"a_bits", "bits", "activation = { bits = 8 } in a step or [scheme]"},
    {"sym", "symmetric", "weight = { symmetric = true } in a step or [scheme]"},
    {"zero_point", "symmetric",
     "weight = { symmetric = false }, in a step or [scheme], for a zero point"},
    {"strategy", "granularity", "weight = { granularity = \"group\" } in a step or [scheme]"},
    {"num_samples", "samples", "[calibration] samples = 128"},
    {"nsamples", "samples", "[calibration] samples = 128"},
    {"n_samples", "samples", "[calibration] samples = 128"},
    {"num_calibration_samples", "samples", "[calibration] samples = 128"},
    {"max_seq_length", "length", "[calibration] length = 2048"},
    {"max_seq_len", "length", "[calibration] length = 2048"},
    {"max_calib_seq_len", "length", "[calibration] length = 2048"},
    {"seqlen", "length", "[calibration] length = 2048"},
    {"seq_len", "length", "[calibration] length = 2048"},
    {"dataset", "source", "[calibration] source = \"text.txt\""},
    {"calib_data", "source", "[calibration] source = \"text.txt\""},
    {"damp_percent", "damping", "damping = 0.01 in the step \"gptq\""},
    {"percdamp", "damping", "damping = 0.01 in the step \"gptq\""},
    {"dampening_frac", "damping", "damping = 0.01 in the step \"gptq\""},
    {"actorder", "order", "order = \"activation\" in the step \"gptq\""},
    {"act_order", "order", "order = \"activation\" in the step \"gptq\""},
    {"desc_act", "order", "order = \"activation\" in the step \"gptq\""},
    {"ignore", "", "[[step.override]] with match = \"…\" and keep = true"},
    {"modules_to_not_convert", "", "[[step.override]] with match = \"…\" and keep = true"},
    {"exclude", "", "[[step.override]] with match = \"…\" and keep = true"},
    {"targets", "match", "match = \"*.down_proj\" in the step"},
    {"scheme", "weight", "weight = { bits = 4, group = 128 } in the step"},
    {"model_id", "path", "[model] path = \"folder\""},
    {"model_name", "path", "[model] path = \"folder\""},
    {"model_path", "path", "[model] path = \"folder\""},
    {"output_dir", "path", "[[export]] path = \"folder\""},
    {"save_dir", "path", "[[export]] path = \"folder\""},
    {"save_path", "path", "[[export]] path = \"folder\""},
    {"batch_size", "micro_batch", "[run] micro_batch = 0"},
    {"device_map", "device", "[run] device = \"cpu\""},
    {"dtype", "compute", "[run] compute = \"float32\""},
    {"steps", "step", "[[step]], one table for each"},
    {"modifiers", "step", "[[step]], one table for each"},
    {"quantization", "step", "[[step]], one table for each"},
    {"method", "use", "[[step]] with use = \"gptq\""},
    {"quant_method", "use", "[[step]] with use = \"gptq\""},
    {"algorithm", "use", "[[step]] with use = \"gptq\""},
    {"calib", "calibration", "[calibration]"},
    {"data", "calibration", "[calibration]"},
    {"output", "export", "[[export]]"},
    {"recipe", "step", "[[step]], one table for each"},
    {"evaluation", "evaluate", "[[evaluate]]"},
    {"eval", "evaluate", "[[evaluate]]"},
    {"quantization_config", "scheme", "[scheme] weight = { bits = 4 }"}};

struct Component {
  const char *kind, *theirs, *answer;
};

constexpr Component kComponents[] = {
    {"algorithm", "gptqmodifier", "use = \"gptq\""},
    {"algorithm", "autogptq", "use = \"gptq\""},
    {"algorithm", "gptqmodel", "use = \"gptq\""},
    {"algorithm", "awqmodifier", "use = \"awq\""},
    {"algorithm", "autoawq", "use = \"awq\""},
    {"algorithm", "smoothquantmodifier", "use = \"smoothquant\""},
    {"algorithm", "smooth_quant", "use = \"smoothquant\""},
    {"algorithm", "quantizationmodifier", "use = \"rtn\""},
    {"algorithm", "round_to_nearest", "use = \"rtn\""},
    {"algorithm", "minmax", "use = \"rtn\""},
    {"algorithm", "fp8", "use = \"rtn\" with weight = { format = \"fp8-e4m3\" }"},
    {"algorithm", "int4", "use = \"rtn\" with weight = { bits = 4 }"},
    {"algorithm", "int8", "use = \"rtn\" with weight = { bits = 8 }"},
    {"algorithm", "spinquant", "use = \"quarot\", which rotates without training"},
    {"algorithm", "spinquantmodifier", "use = \"quarot\", which rotates without training"},
    {"algorithm", "quip", "use = \"quarot\" and then \"gptq\""},
    {"algorithm", "bitsandbytes", "use = \"rtn\""},
    {"evaluator", "wikitext", "use = \"perplexity\" with source = a file of its text"},
    {"evaluator", "wikitext2", "use = \"perplexity\" with source = a file of its text"},
    {"evaluator", "ppl", "use = \"perplexity\""},
    {"evaluator", "kl", "use = \"divergence\""},
    {"evaluator", "kld", "use = \"divergence\""},
    {"evaluator", "kl_divergence", "use = \"divergence\""},
    {"evaluator", "c4", "use = \"perplexity\" with source = a file of its text"},
    {"evaluator", "lm_eval", "use = \"perplexity\" or \"divergence\"; tasks run on the export"},
    {"evaluator", "mmlu", "use = \"perplexity\" or \"divergence\"; tasks run on the export"},
    {"format", "dense", "[[step.override]] with keep = true, which leaves linears in floats"},
    {"format", "float", "[[step.override]] with keep = true, which leaves linears in floats"},
    {"format", "none", "[[step.override]] with keep = true, which leaves linears in floats"},
    {"format", "bf16", "[[step.override]] with keep = true, which leaves linears in floats"},
    {"format", "fp16", "[[step.override]] with keep = true, which leaves linears in floats"},
    {"format", "integer", "format = \"int\""},
    {"format", "int2", "format = \"int\" with bits = 2"},
    {"format", "int3", "format = \"int\" with bits = 3"},
    {"format", "int4", "format = \"int\" with bits = 4"},
    {"format", "uint4", "format = \"int\" with bits = 4 and symmetric = false"},
    {"format", "w4a16", "format = \"int\" with bits = 4"},
    {"format", "int8", "format = \"int\" with bits = 8"},
    {"format", "uint8", "format = \"int\" with bits = 8 and symmetric = false"},
    {"format", "w8a16", "format = \"int\" with bits = 8"},
    {"format", "fp8", "format = \"fp8-e4m3\""},
    {"format", "e4m3", "format = \"fp8-e4m3\""},
    {"format", "float8", "format = \"fp8-e4m3\""},
    {"format", "fp8_e4m3fn", "format = \"fp8-e4m3\""},
    {"format", "float8_e4m3fn", "format = \"fp8-e4m3\""},
    {"format", "e5m2", "format = \"fp8-e5m2\""},
    {"format", "float8_e5m2", "format = \"fp8-e5m2\""},
    {"exporter", "vllm", "use = \"compressed-tensors\", which it reads"},
    {"exporter", "sglang", "use = \"compressed-tensors\", which it reads"},
    {"exporter", "transformers", "use = \"compressed-tensors\", or \"huggingface\" for floats"},
    {"exporter", "hf", "use = \"huggingface\""},
    {"exporter", "safetensors", "use = \"huggingface\", or \"compressed-tensors\""},
    {"exporter", "compressed_tensors", "use = \"compressed-tensors\""},
    {"exporter", "autogptq", "use = \"gptq\""},
    {"exporter", "autoawq", "use = \"awq\""},
    {"exporter", "mlc-llm", "use = \"mlc\""},
    {"exporter", "smooth_quant", "use = \"lmdeploy\""},
    {"exporter", "llama.cpp", "use = \"gguf\""}};

constexpr const char* kDataSets[] = {
    "wikitext", "wikitext2", "wikitext-2", "wikitext-103", "c4",     "pileval",
    "pile",     "ptb",       "redpajama",  "ultrachat",    "alpaca", "mit-han-lab/pile-val"};

std::string folded(std::string word) {
  std::replace(word.begin(), word.end(), '-', '_');
  return absl::AsciiStrToLower(word);
}

bool is_data_set(const std::string& word) {
  return std::any_of(std::begin(kDataSets), std::end(kDataSets),
                     [&](const char* name) { return folded(name) == folded(word); });
}

// "meta-llama/Llama-3.1-8B": two words and one slash, no ending of a file.
bool is_hub_name(const std::string& path) {
  const auto slashes = std::count(path.begin(), path.end(), '/');
  const bool file = absl::EndsWith(path, ".txt") || absl::EndsWith(path, ".json") ||
                    absl::EndsWith(path, ".jsonl") || absl::EndsWith(path, ".gguf") ||
                    absl::EndsWith(path, ".safetensors");
  return slashes == 1 && path.front() != '/' && path.front() != '.' && path.front() != '~' &&
         path.back() != '/' && !file;
}

// Where a key of ours belongs: "; it is a key of [calibration]".
std::string own_key_elsewhere(const std::string& key) {
  std::vector<std::string> places;
  const auto look = [&](const std::vector<ParamManifest>& keys, const std::string& place) {
    const bool found = std::any_of(keys.begin(), keys.end(),
                                   [&](const ParamManifest& one) { return one.name == key; });
    if (found) places.push_back(place);
  };
  for (const Section& section : sections()) {
    const std::string place = section.is_list ? absl::StrCat("[[", section.name, "]]")
                                              : absl::StrCat("[", section.name, "]");
    look(section.keys, place);
    const auto& tables = section.scheme_tables;
    if (std::find(tables.begin(), tables.end(), key) != tables.end()) places.push_back(place);
    if (section.name == key) places.push_back(absl::StrCat("the file: ", place));
  }
  look(override_keys(), "[[step.override]]");
  for (const char* table : {"weight", "activation"}) {
    const std::vector<std::string> own = known_scheme_keys(table);
    if (std::find(own.begin(), own.end(), key) != own.end())
      places.push_back(absl::StrCat(table, " = { … }"));
  }
  return places.empty() ? "" : absl::StrCat("; it is a key of ", absl::StrJoin(places, " and of "));
}

// The first line that says something.
std::string first_line(const std::string& text) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (!line.empty() && line[0] != '#') return std::string(line);
  }
  return "";
}

// "quant_stage:", "- a", "key: value"
bool begins_as_yaml(const std::string& line) {
  if (line == "---" || absl::StartsWith(line, "- ")) return true;
  const size_t colon = line.find(':');
  if (colon == std::string::npos || colon == 0) return false;
  const std::string word = line.substr(0, colon);
  const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-';
  });
  return plain && (colon + 1 == line.size() || line[colon + 1] == ' ');
}

}  // namespace

std::string own_key(const std::string& key) {
  for (const Word& word : kKeys) {
    if (folded(key) == word.theirs) return word.key;
  }
  return "";
}

std::string foreign_key(const std::string& key, const std::vector<std::string>& known,
                        const std::string& otherwise) {
  for (const Word& word : kKeys) {
    if (folded(key) != word.theirs) continue;
    const bool here =
        word.key[0] != '\0' && std::find(known.begin(), known.end(), word.key) != known.end();
    return here ? absl::StrCat("; here it is called \"", word.key, "\"")
                : absl::StrCat("; write ", word.answer);
  }
  const std::string elsewhere = own_key_elsewhere(key);
  return elsewhere.empty() ? otherwise : elsewhere;
}

std::string foreign_component(const std::string& kind, const std::string& name) {
  for (const Component& component : kComponents) {
    if (kind == component.kind && folded(name) == component.theirs)
      return absl::StrCat("; write ", component.answer);
  }
  return "";
}

std::string foreign_value(const std::string& key, const Value& value) {
  if (key == "group" && value == Value(-1))
    return "; for one scale a row write granularity = \"channel\"";
  return "";
}

std::string foreign_home(const std::string& path) {
  return path.empty() || path.front() != '~'
             ? ""
             : "; \"~\" is a word of the shell and not known here: write the home folder's path";
}

std::string foreign_path(const std::string& path) {
  if (path.empty() || path.front() == '~') return foreign_home(path);
  if (is_data_set(path))
    return "; data sets are not fetched: give a text, .jsonl or .json file that holds it";
  if (is_hub_name(path))
    return absl::StrCat(
        "; swage reads folders and fetches nothing: `hf download ", path,
        " --local-dir DIR` fetches a model of that name from the hub, DIR is then its path");
  return "";
}

std::string foreign_text(const std::string& text) {
  const std::string line = first_line(text);
  const char* const language = absl::StartsWith(line, "{") ? "JSON"
                               : begins_as_yaml(line)      ? "YAML"
                               : absl::StartsWith(line, "from ") ||
                                       absl::StartsWith(line, "import ") ||
                                       absl::StartsWith(line, "def ")
                                   ? "Python"
                                   : nullptr;
  if (language == nullptr) return "";
  return absl::StrCat("; it looks like ", language,
                      ", and a pipeline is written in TOML: `swage help` shows one");
}

absl::Status foreign_pipeline(const std::string& file) {
  const std::string ending =
      absl::AsciiStrToLower(std::filesystem::path(file).extension().string());
  for (const char* other : {".yaml", ".yml", ".json"}) {
    if (ending != other) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": a pipeline is written in TOML, and this is ", ending == ".json" ? "JSON" : "YAML",
        " by its name; `swage help` shows one, `swage help pipeline` every key"));
  }
  return absl::OkStatus();
}

}  // namespace swage
