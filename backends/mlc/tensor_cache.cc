#include "tensor_cache.h"

#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::mlc {
namespace {

using io::StoredType;
using io::TensorInfo;

absl::StatusOr<const char*> dtype_of(const std::string& tensor, StoredType type) {
  if (absl::EndsWith(tensor, ".q_weight") && type == StoredType::kI32) return "uint32";
  if (type == StoredType::kF16) return "float16";
  return absl::InvalidArgumentError(
      absl::StrCat(tensor, " is ", io::name(type), ", expected F16, which q4f16_2 computes in"));
}

absl::StatusOr<Value> record_of(const MlcParameter& parameter, const io::Header& header) {
  const TensorInfo& first = header.find(parameter.tensors.front())->second;
  Value::List shape(first.shape.begin(), first.shape.end());
  int64_t rows = 0, end = first.begin;
  for (const std::string& tensor : parameter.tensors) {
    const auto found = header.find(tensor);
    if (found == header.end() || found->second.begin != end)
      return absl::InternalError(absl::StrCat(tensor, " does not lie behind the one before it"));
    end = found->second.end;
    rows += found->second.shape.empty() ? 0 : found->second.shape[0];
  }
  if (!shape.empty()) shape[0] = Value(rows);
  SWAGE_ASSIGN_OR_RETURN(const char* const dtype, dtype_of(parameter.tensors.front(), first.type));
  return Value(Value::Table{{"name", parameter.name},
                            {"shape", std::move(shape)},
                            {"dtype", dtype},
                            {"format", "raw"},
                            {"nbytes", end - first.begin},
                            {"byteOffset", first.begin}});
}

}  // namespace

absl::StatusOr<Value> tensor_cache(const std::string& folder,
                                   const std::vector<MlcParameter>& parameters) {
  SWAGE_ASSIGN_OR_RETURN(const auto files, io::read_checkpoint_files(folder));
  std::map<std::string, size_t> places;  // of tensors: in which file
  for (size_t i = 0; i < files.size(); ++i)
    for (const auto& [name, info] : files[i].header) places[name] = i;
  std::vector<Value::List> records(files.size());
  int64_t bytes = 0;
  for (const MlcParameter& parameter : parameters) {
    const size_t file = places.at(parameter.tensors.front());
    SWAGE_ASSIGN_OR_RETURN(Value record, record_of(parameter, files[file].header));
    bytes += *record["nbytes"].integer();
    records[file].push_back(std::move(record));
  }
  Value::List shards;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::filesystem::path path(files[i].path);
    std::error_code error;
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
    if (error) return absl::UnavailableError(absl::StrCat(path.string(), ": ", error.message()));
    shards.emplace_back(Value::Table{{"dataPath", path.filename().string()},
                                     {"format", "raw-shard"},
                                     {"nbytes", size},
                                     {"records", std::move(records[i])}});
  }
  const auto count = static_cast<int64_t>(parameters.size());
  return Value(Value::Table{{"metadata", Value::Table{{"ParamSize", count}, {"ParamBytes", bytes}}},
                            {"records", std::move(shards)}});
}

}  // namespace swage::mlc
