#include "swage/io/gguf.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gguf_decode.h"
#include "gguf_tokenizer.h"
#include "io/side_files.h"
#include "swage/io/gguf_header.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;  // of encoded rows at a time

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
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

// A tensor as rows of its last dimension.
struct Rows {
  int64_t count = 1, width = 1;  // width in values
};
Rows rows_of(const std::vector<int64_t>& shape) {
  Rows rows;
  if (shape.size() == 1) return {shape[0], 1};
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows.count *= shape[i];
  rows.width = shape.back();
  return rows;
}

class GgufWeights final : public WeightSource {
 public:
  GgufWeights(std::string path, GgufFile file, std::vector<GgufOffer> offers,
              std::vector<Descriptor> files)
      : path_(std::move(path)), file_(std::move(file)), files_(std::move(files)) {
    for (GgufOffer& offer : offers) {
      const std::string name = offer.name;
      offers_.emplace(name, std::move(offer));
    }
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, offer] : offers_) names.push_back(name);
    return names;
  }

  bool has(std::string_view name) const override { return offers_.find(name) != offers_.end(); }

  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufOffer* offer, find(name));
    return offer->shape;
  }

  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufOffer* offer, find(name));
    return to_scalar_type(offer->type);
  }

  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufOffer* offer, find(name));
    return make(*offer, offer->plan);
  }

  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const GgufOffer* offer, find(name));
    if (begin < 0 || begin > end || end > offer->shape[0]) {
      return absl::OutOfRangeError(absl::StrCat(path_, ": rows ", begin, " to ", end,
                                                " of tensor \"", std::string(name),
                                                "\", which has ", offer->shape[0]));
    }
    if (offer->plan.transposed != 0 || offer->shape.size() > 2) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor whole, read(name));
      return whole.narrow(0, begin, end - begin).clone();
    }
    return make(*offer, part_of(offer->plan, begin, end));
  }

  const GgufFile& file() const { return file_; }
  const std::string& path() const { return path_; }

 private:
  absl::StatusOr<const GgufOffer*> find(std::string_view name) const {
    const auto it = offers_.find(name);
    if (it == offers_.end()) {
      return absl::NotFoundError(
          absl::StrCat(path_, ": there is no tensor \"", std::string(name), "\""));
    }
    return &it->second;
  }

  // The plan of rows [begin, end).
  static GgufPlan part_of(const GgufPlan& plan, int64_t begin, int64_t end) {
    GgufPlan part = plan;
    part.rows.clear();
    part.shape[0] = end - begin;
    if (!plan.values.empty())
      part.values.assign(plan.values.begin() + begin, plan.values.begin() + end);
    int64_t at = 0;
    for (const GgufRows& rows : plan.rows) {
      const int64_t from = std::max(begin, at), to = std::min(end, at + rows.count);
      if (from < to) part.rows.push_back({rows.source, rows.begin + from - at, to - from});
      at += rows.count;
    }
    return part;
  }

  absl::StatusOr<at::Tensor> make(const GgufOffer& offer, const GgufPlan& plan) const {
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, to_scalar_type(offer.type));
    std::vector<int64_t> shape = offer.shape;
    shape[0] = plan.shape[0];
    if (!plan.values.empty())
      return at::tensor(at::ArrayRef<float>(plan.values), at::kFloat).view(shape).to(type);
    at::Tensor result = at::empty(shape, type);
    const Rows rows = rows_of(shape);
    const at::Tensor flat = result.view({rows.count, rows.width});
    int64_t at = 0;
    const auto read = [&](const std::string& source, int64_t begin, int64_t end) {
      return read_source(source, begin, end, offer.blocks != 0);
    };
    SWAGE_RETURN_IF_ERROR(each_piece(plan, read, [&](const at::Tensor& piece) -> absl::Status {
      if (piece.size(1) != rows.width || at + piece.size(0) > rows.count) return torn(plan);
      flat.narrow(0, at, piece.size(0)).copy_(plan.added == 0 ? piece : piece + plan.added);
      at += piece.size(0);
      return absl::OkStatus();
    }));
    if (at != rows.count) return torn(plan);
    return result;
  }

  absl::Status torn(const GgufPlan& plan) const {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": the tensors of ", plan.name, " do not fit together"));
  }

  // Rows [begin, end) of a tensor of the file (all where end < 0), in fp32 or as they are.
  absl::StatusOr<at::Tensor> read_source(const std::string& name, int64_t begin, int64_t end,
                                         bool as_bytes) const {
    const auto found = file_.tensors.find(name);
    SWAGE_CHECK(found != file_.tensors.end());
    const GgufTensor& tensor = found->second;
    const Rows all = rows_of(tensor.shape);
    if (end < 0) end = all.count;
    if (begin > end || end > all.count)
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": tensor \"", name, "\" has ", all.count, " rows, expected ", end));
    const int64_t row_bytes = (tensor.end - tensor.begin) / all.count;
    if (as_bytes) {
      at::Tensor bytes = at::empty({end - begin, row_bytes}, at::kByte);
      SWAGE_RETURN_IF_ERROR(
          read_bytes(tensor, begin * row_bytes, bytes.nbytes(), bytes.mutable_data_ptr<uint8_t>()));
      return bytes;
    }
    at::Tensor values = at::empty({end - begin, all.width}, at::kFloat);
    const GgufBlock block = gguf_block(tensor.type);
    const int64_t step = std::max<int64_t>(1, kChunkBytes / row_bytes);
    std::vector<uint8_t> encoded(static_cast<size_t>(std::min(step, end - begin) * row_bytes));
    for (int64_t row = begin; row < end; row += step) {
      const int64_t bytes = std::min(step, end - row) * row_bytes;
      SWAGE_RETURN_IF_ERROR(read_bytes(tensor, row * row_bytes, bytes, encoded.data()));
      decode_gguf(tensor.type, encoded.data(), bytes / block.bytes,
                  values.mutable_data_ptr<float>() + (row - begin) * all.width);
    }
    if (tensor.type == kGgufNvfp4) SWAGE_RETURN_IF_ERROR(scale_nvfp4(tensor, begin, values));
    return values;
  }

  absl::Status read_bytes(const GgufTensor& tensor, int64_t at, int64_t size, uint8_t* out) const {
    const absl::Status status = files_[tensor.file].read(tensor.begin + at, size, out);
    if (status.ok()) return status;
    return annotate(status, absl::StrCat(path_, ": tensor \"", tensor.name, "\""));
  }

  // The matrices' factors lie in a tensor of their own.
  absl::Status scale_nvfp4(const GgufTensor& tensor, int64_t begin, const at::Tensor& rows) const {
    const std::string name = absl::StrCat(absl::StripSuffix(tensor.name, ".weight"), ".scale");
    if (file_.tensors.count(name) == 0) return absl::OkStatus();
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor factors, read_source(name, 0, -1, false));
    const int64_t all = rows_of(tensor.shape).count;
    if (all % factors.size(0) != 0)
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": tensor \"", name, "\" has ", factors.size(0), " factors"));
    const at::Tensor of_rows = factors.repeat_interleave(all / factors.size(0), 0);
    rows.mul_(of_rows.narrow(0, begin, rows.size(0)));
    return absl::OkStatus();
  }

  std::string path_;
  GgufFile file_;
  std::vector<Descriptor> files_;
  std::map<std::string, GgufOffer, std::less<>> offers_;
};

class GgufCheckpoint final : public Checkpoint {
 public:
  GgufCheckpoint(Value config, std::unique_ptr<GgufWeights> weights)
      : config_(std::move(config)), weights_(std::move(weights)) {}

  const Value& config() const override { return config_; }
  const WeightSource& weights() const override { return *weights_; }
  const std::string& path() const override { return weights_->path(); }
  std::string identity() const override { return weights_->file().digest; }

  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    std::map<std::string, std::string> all;
    std::error_code error;
    if (std::filesystem::is_directory(path(), error)) {
      SWAGE_ASSIGN_OR_RETURN(auto files, read_side_files(path()));
      for (auto& [name, content] : files) all.emplace(name, std::move(content));
    }
    if (all.count("tokenizer.json") == 0 && all.count("tokenizer.model") == 0) {
      auto made = make_side_files(weights_->file());
      if (!made.ok()) return annotate(made.status(), path());
      for (auto& [name, content] : *made) all.emplace(name, std::move(content));
    }
    return std::vector<std::pair<std::string, std::string>>(all.begin(), all.end());
  }

 private:
  const Value config_;
  const std::unique_ptr<GgufWeights> weights_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> open_gguf(const std::string& path, GgufView view) {
  SWAGE_ASSIGN_OR_RETURN(GgufFile file, read_gguf(path));
  auto offers = gguf_offers(file, view);
  if (!offers.ok()) return annotate(offers.status(), path);
  auto config = gguf_config(file, view);
  if (!config.ok()) return annotate(config.status(), path);
  std::vector<Descriptor> files;
  for (const std::string& part : file.paths) {
    const int descriptor = ::open(part.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return absl::NotFoundError(absl::StrCat(part, ": ", std::strerror(errno)));
    files.emplace_back(descriptor);
  }
  auto weights =
      std::make_unique<GgufWeights>(path, std::move(file), *std::move(offers), std::move(files));
  return std::make_unique<GgufCheckpoint>(*std::move(config), std::move(weights));
}

}  // namespace swage::io
