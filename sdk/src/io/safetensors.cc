#include "swage/io/safetensors.h"

#include <algorithm>
#include <unordered_map>

#include "../base/io/posix_file.h"
#include "io/safetensors_source.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr std::pair<StoredType, at::ScalarType> kTypes[] = {
    {StoredType::kF64, at::kDouble},
    {StoredType::kF32, at::kFloat},
    {StoredType::kF16, at::kHalf},
    {StoredType::kBF16, at::kBFloat16},
    {StoredType::kF8E4M3, at::kFloat8_e4m3fn},
    {StoredType::kF8E5M2, at::kFloat8_e5m2},
    {StoredType::kI64, at::kLong},
    {StoredType::kI32, at::kInt},
    {StoredType::kU32, at::kUInt32},
    {StoredType::kI16, at::kShort},
    {StoredType::kI8, at::kChar},
    {StoredType::kU8, at::kByte},
    {StoredType::kBool, at::kBool}};

class SafetensorsSource final : public WeightSource {
 public:
  absl::Status open(std::vector<CheckpointFile> files) {
    size_t count = 0;
    for (const CheckpointFile& file : files) count += file.header.size();
    entries_.reserve(count);
    for (CheckpointFile& file : files) SWAGE_RETURN_IF_ERROR(add(file));
    return absl::OkStatus();
  }
  std::shared_ptr<const Header> header() const { return header_; }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    names.reserve(header_->size());
    for (const auto& [name, info] : *header_) names.push_back(name);
    return names;
  }

  bool has(std::string_view name) const override { return entries_.count(name) > 0; }

  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Entry* entry, find(name));
    return entry->info->shape;
  }

  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Entry* entry, find(name));
    return to_scalar_type(entry->info->type);
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const Entry* entry, find(name));
    return read_range(name, *entry, entry->info->shape, entry->info->begin, entry->info->end);
  }

  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const Entry* entry, find(name));
    const TensorInfo& info = *entry->info;
    const int64_t rows = info.shape.empty() ? 0 : info.shape[0];
    if (begin < 0 || begin > end || end > rows) {
      return absl::OutOfRangeError(
          absl::StrCat(files_[entry->file].path(), ": rows ", begin, " to ", end, " of tensor \"",
                       absl::string_view(name.data(), name.size()), "\", which has ", rows));
    }
    const int64_t row_bytes = rows == 0 ? 0 : (info.end - info.begin) / rows;
    std::vector<int64_t> shape = info.shape;
    if (!shape.empty()) shape[0] = end - begin;
    return read_range(name, *entry, shape, info.begin + begin * row_bytes,
                      info.begin + end * row_bytes);
  }

 private:
  struct Entry {
    const TensorInfo* info;
    size_t file;
  };

  // Nodes of the file's header move into the whole one: nothing of a hundred thousand is copied.
  absl::Status add(CheckpointFile& file) {
    SWAGE_ASSIGN_OR_RETURN(InputFile opened, InputFile::open(file.path));
    for (const auto& [name, info] : file.header) {
      const auto [entry, is_new] = entries_.emplace(name, Entry{&info, files_.size()});
      if (is_new) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          file.path, ": tensor \"", name, "\" also lies in ", files_[entry->second.file].path()));
    }
    header_->merge(file.header);
    files_.push_back(std::move(opened));
    return absl::OkStatus();
  }

  absl::StatusOr<const Entry*> find(std::string_view name) const {
    const auto it = entries_.find(name);
    if (it != entries_.end()) return &it->second;
    return absl::NotFoundError(absl::StrCat(
        files_.empty() ? "no files" : files_[0].path(),
        files_.size() > 1 ? absl::StrCat(" and ", files_.size() - 1, " more files") : "",
        ": there is no tensor \"", absl::string_view(name.data(), name.size()), "\""));
  }

  absl::StatusOr<at::Tensor> read_range(std::string_view name, const Entry& entry,
                                        const std::vector<int64_t>& shape, int64_t begin,
                                        int64_t end) const {
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, to_scalar_type(entry.info->type));
    at::Tensor tensor = at::empty(shape, type);
    const absl::Status status =
        files_[entry.file].read(begin, end - begin, tensor.mutable_data_ptr());
    if (!status.ok())
      return annotate(status,
                      absl::StrCat("tensor \"", absl::string_view(name.data(), name.size()), "\""));
    return tensor;
  }

  std::vector<InputFile> files_;
  const std::shared_ptr<Header> header_ = std::make_shared<Header>();
  std::unordered_map<std::string_view, Entry> entries_;  // of header_
};

}  // namespace

absl::StatusOr<at::ScalarType> to_scalar_type(StoredType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (stored == type) return scalar;
  }
  return absl::InternalError(absl::StrCat("no tensor dtype for ", name(type)));
}

absl::StatusOr<StoredType> to_stored_type(at::ScalarType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (scalar == type) return stored;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("safetensors files of swage hold no ", c10::toString(type)));
}

absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors(
    const std::vector<std::string>& files) {
  std::vector<CheckpointFile> read;
  for (const std::string& file : files) {
    SWAGE_ASSIGN_OR_RETURN(Header header, read_header(file));
    read.push_back({file, std::move(header)});
  }
  return open_safetensors(std::move(read), nullptr);
}

absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors(
    std::vector<CheckpointFile> files, std::shared_ptr<const Header>* header) {
  auto source = std::make_unique<SafetensorsSource>();
  SWAGE_RETURN_IF_ERROR(source->open(std::move(files)));
  if (header != nullptr) *header = source->header();
  return source;
}

}  // namespace swage::io
