#include "core/engine/shape_source.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<std::unique_ptr<ShapeSource>> ShapeSource::create(const io::Header& header) {
  std::unique_ptr<ShapeSource> made(new ShapeSource(header));
  SWAGE_RETURN_IF_ERROR(made->map());
  return made;
}

absl::Status ShapeSource::map() {
  std::map<at::ScalarType, double> bytes_of;
  size_t largest = 1;
  for (const auto& [name, info] : header_) {
    tensors_.emplace(name, &info);
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, io::to_scalar_type(info.type));
    size_t bytes = c10::elementSize(type);
    for (const int64_t size : info.shape) bytes *= static_cast<size_t>(size);
    largest = std::max(largest, bytes);
    if (at::isFloatingType(type)) bytes_of[type] += static_cast<double>(bytes);
  }
  double most = 0;
  for (const auto& [type, bytes] : bytes_of) {
    if (bytes > most) common_dtype_ = type;
    most = std::max(most, bytes);
  }
  void* const region = ::mmap(nullptr, largest, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no address space for a tensor of ", largest, " bytes"));
  }
  zeros_ = region;
  bytes_ = largest;
  return absl::OkStatus();
}

std::vector<std::string> ShapeSource::names() const {
  std::vector<std::string> names;
  for (const auto& [name, info] : header_) names.push_back(name);
  return names;
}

absl::StatusOr<const io::TensorInfo*> ShapeSource::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  return absl::NotFoundError(absl::StrCat("there is no tensor \"", std::string(name), "\""));
}

absl::StatusOr<std::vector<int64_t>> ShapeSource::shape(std::string_view name) const {
  {
    const std::lock_guard lock(mutex_);
    asked_ = name;
  }
  SWAGE_ASSIGN_OR_RETURN(const io::TensorInfo* const info, find(name));
  return info->shape;
}

absl::StatusOr<at::ScalarType> ShapeSource::dtype(std::string_view name) const {
  SWAGE_ASSIGN_OR_RETURN(const io::TensorInfo* const info, find(name));
  return io::to_scalar_type(info->type);
}

bool ShapeSource::pretend(const std::vector<int64_t>& shape) {
  const auto type = io::to_stored_type(common_dtype_);
  double bytes = type.ok() ? static_cast<double>(io::byte_size(*type)) : 0;
  for (const int64_t size : shape) bytes *= static_cast<double>(size);
  if (!type.ok() || bytes > static_cast<double>(bytes_)) return false;
  const auto [made, added] = pretended_.try_emplace(asked_, io::TensorInfo{*type, shape, 0, 0});
  if (added) tensors_.erase(made->first);
  return added && tensors_.emplace(made->first, &made->second).second;
}

ShapeSource::~ShapeSource() {
  if (zeros_ != nullptr) ::munmap(zeros_, bytes_);
}

void ShapeSource::forget_writes() const { ::madvise(zeros_, bytes_, MADV_DONTNEED); }

std::vector<std::string> ShapeSource::take_read() const {
  const std::lock_guard lock(mutex_);
  return std::exchange(read_, {});
}

at::Tensor ShapeSource::zeros(const std::vector<int64_t>& shape, at::ScalarType type) const {
  const auto options = at::TensorOptions().dtype(type);
  if (form_ == Form::kWhole) return at::from_blob(zeros_, shape, options);
  return at::from_blob(zeros_, shape, std::vector<int64_t>(shape.size(), 0), options);
}

absl::StatusOr<at::Tensor> ShapeSource::read(std::string_view name) const {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, shape(name));
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, dtype(name));
  const std::lock_guard lock(mutex_);
  read_.emplace_back(name);
  return zeros(sizes, type);
}

absl::StatusOr<at::Tensor> ShapeSource::read_rows(std::string_view name, int64_t begin,
                                                  int64_t end) const {
  SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> sizes, shape(name));
  if (sizes.empty() || begin < 0 || begin > end || end > sizes[0]) {
    return absl::OutOfRangeError(absl::StrCat("rows ", begin, " to ", end, " of tensor \"",
                                              std::string(name), "\", which has ",
                                              sizes.empty() ? 0 : sizes[0]));
  }
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, dtype(name));
  sizes[0] = end - begin;
  const std::lock_guard lock(mutex_);
  read_.emplace_back(name);
  return zeros(sizes, type);
}

}  // namespace swage
