#include "swage/io/gguf.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gguf_decode.h"
#include "gguf_tokenizer.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;  // of encoded rows at a time

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  absl::Status read(int64_t at, int64_t size, uint8_t* out) const {
    while (size > 0) {
      const ssize_t got = ::pread(value_, out, static_cast<size_t>(size), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return absl::DataLossError(std::strerror(errno));
      if (got == 0) return absl::DataLossError("the file has become shorter");
      at += got, out += got, size -= got;
    }
    return absl::OkStatus();
  }

 private:
  int value_;
};

class GgufWeights final : public WeightSource {
 public:
  GgufWeights(std::string path, GgufFile file, int descriptor, at::ScalarType storage)
      : path_(std::move(path)),
        file_(std::move(file)),
        descriptor_(descriptor),
        storage_(storage) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : file_.tensors) names.push_back(name);
    return names;
  }

  bool has(std::string_view name) const override {
    return file_.tensors.find(name) != file_.tensors.end();
  }

  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufTensor* tensor, find(name));
    return tensor->shape;
  }

  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_RETURN_IF_ERROR(find(name).status());
    return storage_;
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufTensor* tensor, find(name));
    SWAGE_ASSIGN_OR_RETURN(at::Tensor rows, decode_rows(*tensor, 0, tensor->shape[0]));
    return tensor->heads == 0 ? rows : original_order(rows, tensor->heads);
  }

  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufTensor* tensor, find(name));
    if (begin < 0 || begin > end || end > tensor->shape[0]) {
      return absl::OutOfRangeError(absl::StrCat(path_, ": rows ", begin, " to ", end,
                                                " of tensor \"", std::string(name),
                                                "\", which has ", tensor->shape[0]));
    }
    if (tensor->heads == 0) return decode_rows(*tensor, begin, end);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor whole, read(name));
    return whole.narrow(0, begin, end - begin).clone();
  }

  const GgufFile& file() const { return file_; }
  const std::string& path() const { return path_; }

 private:
  absl::StatusOr<const GgufTensor*> find(std::string_view name) const {
    const auto it = file_.tensors.find(name);
    if (it == file_.tensors.end()) {
      return absl::NotFoundError(
          absl::StrCat(path_, ": there is no tensor \"", std::string(name), "\""));
    }
    return &it->second;
  }

  // llama.cpp keeps the two halves of every head's rows interleaved, since it rotates neighbours.
  static at::Tensor original_order(const at::Tensor& rows, int64_t heads) {
    const int64_t half = rows.size(0) / heads / 2;
    return rows.reshape({heads, half, 2, -1}).transpose(1, 2).reshape(rows.sizes()).contiguous();
  }

  absl::StatusOr<at::Tensor> decode_rows(const GgufTensor& tensor, int64_t begin,
                                         int64_t end) const {
    std::vector<int64_t> shape = tensor.shape;
    shape[0] = end - begin;
    at::Tensor result = at::empty(shape, storage_);
    const int64_t row_bytes = (tensor.end - tensor.begin) / tensor.shape[0];
    const GgufBlock block = gguf_block(tensor.type);
    const int64_t row_values = row_bytes / block.bytes * block.values;
    const int64_t step = std::max<int64_t>(1, kChunkBytes / row_bytes);
    std::vector<uint8_t> encoded(static_cast<size_t>(std::min(step, end - begin) * row_bytes));
    const at::Tensor flat = result.view({end - begin, row_values});
    for (int64_t row = begin; row < end; row += step) {
      const int64_t rows = std::min(step, end - row);
      const absl::Status status =
          descriptor_.read(tensor.begin + row * row_bytes, rows * row_bytes, encoded.data());
      if (!status.ok())
        return annotate(status, absl::StrCat(path_, ": tensor \"", tensor.name, "\""));
      at::Tensor values = at::empty({rows, row_values}, at::kFloat);
      decode_gguf(tensor.type, encoded.data(), rows * row_bytes / block.bytes,
                  values.data_ptr<float>());
      flat.narrow(0, row - begin, rows).copy_(values);
    }
    return result;
  }

  std::string path_;
  GgufFile file_;
  Descriptor descriptor_;
  at::ScalarType storage_;
};

class GgufCheckpoint final : public Checkpoint {
 public:
  GgufCheckpoint(std::string path, GgufFile file, int descriptor, at::ScalarType storage)
      : weights_(std::move(path), std::move(file), descriptor, storage) {}

  const Value& config() const override { return weights_.file().config; }
  const WeightSource& weights() const override { return weights_; }
  const std::string& path() const override { return weights_.path(); }
  std::string identity() const override { return weights_.file().digest; }

  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    auto files = make_side_files(weights_.file());
    if (!files.ok()) return annotate(files.status(), path());
    return files;
  }

 private:
  GgufWeights weights_;
};

at::ScalarType scalar_type(StoredType storage) {
  return storage == StoredType::kF32   ? at::kFloat
         : storage == StoredType::kF16 ? at::kHalf
                                       : at::kBFloat16;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> open_gguf(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(GgufFile file, read_gguf(path));
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  const at::ScalarType storage = scalar_type(file.storage);
  return std::make_unique<GgufCheckpoint>(path, std::move(file), descriptor, storage);
}

}  // namespace swage::io
