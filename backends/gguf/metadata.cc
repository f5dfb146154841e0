#include "metadata.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "layout.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"

namespace swage::gguf {
namespace {

constexpr int64_t kQuantizationVersion = 2;

// How llama.cpp calls a file that holds mostly this type. K types have one name for a file of one
// type and one for the usual mix.
struct FileType {
  uint32_t type;
  int64_t pure, mixed;
};
constexpr FileType kFileTypes[] = {{0, 0, 0},    {1, 1, 1},    {2, 2, 2},    {3, 3, 3},
                                   {6, 8, 8},    {7, 9, 9},    {8, 7, 7},    {10, 10, 10},
                                   {11, 11, 12}, {12, 14, 15}, {13, 16, 17}, {14, 18, 18},
                                   {20, 25, 25}, {30, 32, 32}, {39, 38, 38}, {40, 39, 39}};

int64_t file_type(const std::vector<io::GgufEntry>& entries) {
  std::map<uint32_t, int64_t> values;
  for (const io::GgufEntry& entry : entries) {
    const bool end =
        absl::StartsWith(entry.name, "token_embd.") || absl::StartsWith(entry.name, "output.");
    int64_t count = end ? 0 : 1;
    for (const int64_t size : entry.shape) count *= size;
    if (entry.shape.size() > 1) values[entry.type] += count;
  }
  uint32_t most = 0;
  int64_t best = -1, quantized = 0;
  for (const auto& [type, count] : values) {
    if (count > 0 && io::gguf_block(type).values > 1) ++quantized;
    if (count > best) most = type, best = count;
  }
  for (const FileType& one : kFileTypes)
    if (one.type == most) return quantized > 1 ? one.mixed : one.pure;
  return 0;
}

}  // namespace

std::vector<io::GgufKey> general_keys(const std::string& name,
                                      const std::vector<io::GgufEntry>& entries) {
  using io::GgufType;
  std::vector<io::GgufKey> keys = {
      {"general.type", GgufType::kText, "model", GgufType::kU32},
      {"general.name", GgufType::kText, name, GgufType::kU32},
      {"general.file_type", GgufType::kU32, file_type(entries), GgufType::kU32}};
  for (const io::GgufEntry& entry : entries) {
    if (io::gguf_block(entry.type).values == 1) continue;
    keys.push_back(
        {"general.quantization_version", GgufType::kU32, kQuantizationVersion, GgufType::kU32});
    break;
  }
  return keys;
}

absl::StatusOr<std::vector<io::GgufKey>> result_keys(const ExportContext& context) {
  Value::Table integers, divided;
  for (const LinearSummary& linear : context.linears()) {
    if (!linear.kept_by.empty()) continue;
    const Value dtype = store::dtype_name(linear.scale_dtype);
    if (linear.weight->format() == "int") integers[linear.name] = dtype;
    if (linear.weight->format() != "nvfp4") continue;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor divisor,
                           context.tensors().read(absl::StrCat(linear.name, ".", kDivisorPart)));
    divided[linear.name] = Value::Table{{"dtype", dtype}, {"divisor", divisor.item<double>()}};
  }
  if (integers.empty() && divided.empty()) return std::vector<io::GgufKey>();
  const Value results(Value::Table{{"integers", integers}, {"nvfp4", divided}});
  return std::vector<io::GgufKey>{
      {"swage.results", io::GgufType::kText, to_json(results, -1), io::GgufType::kU32}};
}

absl::StatusOr<std::optional<Note>> note_of(const Value& results, const std::string& linear) {
  Note note;
  if (const std::string* const dtype = results["integers"][linear].text()) {
    note.dtype = *dtype;
    return note;
  }
  const Value& divided = results["nvfp4"][linear];
  if (divided.is_null()) return std::optional<Note>();
  const std::string* const dtype = divided["dtype"].text();
  if (dtype == nullptr || !divided["divisor"].number(&note.divisor))
    return absl::InvalidArgumentError(
        absl::StrCat(linear, ": \"swage.results\" has no dtype and divisor for it"));
  note.dtype = *dtype;
  return note;
}

}  // namespace swage::gguf
