// GGUF, which llama.cpp loads: matrices as bytes of its blocks, laid out in the end under its names
// and in its order of rows.
#include <ATen/ops/full.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "blocks.h"
#include "layout.h"
#include "metadata.h"
#include "swage/io/checkpoint.h"
#include "swage/plugin.h"
#include "swage/source_check.h"
#include "swage/status.h"
#include "swage/store/hf_exporter.h"
#include "swage/store/integer_form.h"
#include "swage/tied_ends.h"

namespace swage::gguf {
namespace {

using store::StoredModule;

// "M.experts.*.up_proj": what llama.cpp stacks; "" for linears that stand alone.
std::string stack_of(const std::string& linear) {
  std::vector<std::string> parts = absl::StrSplit(linear, '.');
  int64_t number = 0;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i - 1] != "experts" || !absl::SimpleAtoi(parts[i], &number)) continue;
    parts[i] = "*";
    return absl::StrJoin(parts, ".");
  }
  return "";
}

class Gguf final : public store::PackedExporter, public SourceCheck {
 public:
  explicit Gguf(const Params& params)
      : PackedExporter("GGUF"),
        floats_(params.choice<Floats>("floats", {"checkpoint", "bf16", "f16", "f32"})),
        name_(params.text("file")),
        part_bytes_(params.i64("shard_size") << 20) {}

  Result stored_form(const Result& linear) const override {
    if (linear.codec()->format() != "int") return linear;
    const auto form = [&]() -> absl::StatusOr<Result> {
      SWAGE_ASSIGN_OR_RETURN(const Blocks blocks, to_blocks(linear));
      return from_blocks(linear.name(), blocks);
    }();
    return form.ok() ? *form : linear;
  }

  absl::Status check_source(const ExportSource& source) const override {
    SWAGE_RETURN_IF_ERROR(io::plan_gguf(source.config, source.shapes).status());
    SWAGE_RETURN_IF_ERROR(io::gguf_keys(source.config, source.shapes).status());
    return io::gguf_tokenizer(source.config, source.side_files).status();
  }

  absl::Status finish(ExportContext& context) override {
    const Value& config = context.model_config();
    if (config.table() == nullptr)
      return absl::InvalidArgumentError("config.json of the source is no table");
    SWAGE_ASSIGN_OR_RETURN(auto files, context.side_files());
    Stored stored(context.tensors());
    SWAGE_RETURN_IF_ERROR(stored.look());
    SWAGE_ASSIGN_OR_RETURN(const io::GgufPlans plans, io::plan_gguf(config, stored.shapes()));
    SWAGE_ASSIGN_OR_RETURN(const std::vector<io::GgufEntry> entries,
                           entries_of(plans, stored, floats_));
    SWAGE_ASSIGN_OR_RETURN(std::vector<io::GgufKey> keys, io::gguf_keys(config, stored.shapes()));
    SWAGE_ASSIGN_OR_RETURN(const auto tokenizer, io::gguf_tokenizer(config, files));
    SWAGE_ASSIGN_OR_RETURN(const auto results, result_keys(context));
    for (const auto& more : {general_keys(name_, entries), tokenizer, results})
      keys.insert(keys.end(), more.begin(), more.end());
    SWAGE_RETURN_IF_ERROR(
        io::write_split_gguf(context.directory(), name_, std::move(keys), entries, part_bytes_));
    Value::Table plain = *config.table();
    plain.erase("quantization_config");
    plain.erase("compression_config");
    files.emplace_back("config.json", to_json(Value(std::move(plain))) + "\n");
    std::vector<std::string> written;
    return io::write_side_files(context.directory(), files, &written);
  }

 private:
  bool takes(LinearPlace) const override { return true; }

  const void* do_query(std::string_view ability) const override {
    if (ability == kSourceCheck) return static_cast<const SourceCheck*>(this);
    return ability == kTiedEnds ? this : nullptr;
  }

  absl::Status fits(const LinearSummary& linear) const override {
    if (absl::EndsWith(linear.name, ".kv_b_proj"))
      return absl::InvalidArgumentError(
          "llama.cpp cuts this matrix by head and turns one half around, so that columns become "
          "rows; keep it in floats");
    SWAGE_ASSIGN_OR_RETURN(const std::string type, block_type(linear));
    if (type == "nvfp4" && linear.place != LinearPlace::kBlock)
      return absl::InvalidArgumentError(
          "llama.cpp knows no factor of an embedding or a head; use q6_k or q8_0 there");
    return absl::OkStatus();
  }

  absl::Status fit_together(const std::vector<LinearSummary>& planned) const override {
    if (name_.empty() || absl::StrContains(name_, '/'))
      return absl::InvalidArgumentError(
          absl::StrCat("file = \"", name_, "\" is no name of a file"));
    std::map<std::string, std::pair<std::string, std::string>> stacks;  // type, first linear
    for (const LinearSummary& linear : planned) {
      const std::string stack = stack_of(linear.name);
      if (stack.empty()) continue;
      std::string type = "floats";
      if (linear.kept_by.empty()) {
        SWAGE_ASSIGN_OR_RETURN(type, block_type(linear));
      }
      const auto [known, added] = stacks.try_emplace(stack, type, linear.name);
      if (!added && known->second.first != type)
        return absl::InvalidArgumentError(absl::StrCat(
            linear.name, " would be stored in ", type, " and ", known->second.second, " in ",
            known->second.first,
            ": llama.cpp stacks experts in one tensor of one type; give them one scheme"));
    }
    return absl::OkStatus();
  }

  absl::Status write(const Result& linear, TensorSink& sink) const override {
    SWAGE_ASSIGN_OR_RETURN(const Blocks blocks, to_blocks(linear));
    const std::string part = io::gguf_part(type_number(blocks.type));
    SWAGE_RETURN_IF_ERROR(sink.put(absl::StrCat(linear.name(), ".", part), blocks.bytes));
    if (blocks.divisor == 0) return absl::OkStatus();
    return sink.put(absl::StrCat(linear.name(), ".", kDivisorPart),
                    at::full({1}, blocks.divisor, at::kFloat));
  }

  absl::StatusOr<Result> read(const StoredModule& module, const Value& config) const override {
    uint32_t type = 0;
    std::string part;
    for (uint32_t one = 1; one <= io::kGgufNvfp4 && type == 0; ++one) {
      if (io::gguf_block(one).values < 2) continue;
      part = io::gguf_part(one);
      if (module.has(part.c_str())) type = one;
    }
    if (type == 0) return module.plain("the file holds no blocks of it");
    SWAGE_ASSIGN_OR_RETURN(const auto shape, module.shape(part.c_str(), 2));
    Blocks blocks;
    blocks.type = part.substr(part.find('_') + 1);
    SWAGE_ASSIGN_OR_RETURN(blocks.bytes, module.read(part.c_str(), {at::kByte}, shape));
    if (shape[1] % io::gguf_block(type).bytes != 0)
      return module.wrong(part.c_str(), absl::StrCat(shape[1], " bytes a row"),
                          absl::StrCat("a multiple of ", io::gguf_block(type).bytes));
    SWAGE_ASSIGN_OR_RETURN(const auto note,
                           note_of(config["quantization_config"]["results"], module.name()));
    if (type == io::kGgufNvfp4) return read_nvfp4(module, note, std::move(blocks));
    if (note) blocks.as = note->dtype;
    return from_blocks(module.name(), blocks);
  }

  static absl::StatusOr<Result> read_nvfp4(const StoredModule& module,
                                           const std::optional<Note>& note, Blocks blocks) {
    constexpr char kFactor[] = "gguf_scale";
    float factor = 1;
    if (module.has(kFactor)) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor one, module.read(kFactor, {at::kFloat}, {1}));
      factor = one.item<float>();
    }
    if (!note) return from_nvfp4(module.name(), blocks.bytes, factor);
    blocks.divisor = static_cast<float>(note->divisor);
    blocks.as = note->dtype;
    if (1 / blocks.divisor != factor)
      return module.wrong(kFactor, absl::StrCat(factor),
                          absl::StrCat("1 / ", blocks.divisor, ", by \"swage.results\""));
    return from_blocks(module.name(), blocks);
  }

  const Floats floats_;
  const std::string name_;
  const int64_t part_bytes_;
};

}  // namespace
}  // namespace swage::gguf

SWAGE_EXPORTER(swage::gguf::Gguf, "gguf");
