#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/safetensors_header.h"
#include "swage/weight_source.h"

namespace swage {

// Names, dtypes and shapes of a header, and zeros in place of data: no memory is taken until
// somebody writes. So an adapter can load all parts of a model of any size. Notes what is read.
class ShapeSource final : public WeightSource {
 public:
  enum class Form {
    kRepeated,  // all strides are 0: what copies nothing takes no time either
    kWhole      // for adapters that write into what they read, or ask for its strides
  };
  // The header outlives the source. Errors: a tensor larger than the address space.
  static absl::StatusOr<std::unique_ptr<ShapeSource>> create(const io::Header& header);
  ~ShapeSource() override;

  void set_form(Form form) { form_ = form; }
  // Gives back the memory of what was written.
  void forget_writes() const;
  // From now on the tensor that was asked for last is there with this shape, whatever the header
  // says. False: that was pretended before, or there is no room for it.
  bool pretend(const std::vector<int64_t>& shape);
  const std::string& asked() const { return asked_; }
  // Names of tensors that were read since the last call, in that order.
  std::vector<std::string> take_read() const;

  std::vector<std::string> names() const override;
  bool has(std::string_view name) const override { return tensors_.count(name) > 0; }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override;
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override;
  absl::StatusOr<at::Tensor> read(std::string_view name) const override;
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override;
  // The dtype that most bytes have: loading in it converts the least.
  at::ScalarType common_dtype() const { return common_dtype_; }

 private:
  explicit ShapeSource(const io::Header& header) : header_(header) {}
  absl::Status map();
  absl::StatusOr<const io::TensorInfo*> find(std::string_view name) const;
  at::Tensor zeros(const std::vector<int64_t>& shape, at::ScalarType type) const;

  const io::Header& header_;
  std::unordered_map<std::string_view, const io::TensorInfo*> tensors_;
  io::Header pretended_;
  mutable std::string asked_;
  Form form_ = Form::kRepeated;
  at::ScalarType common_dtype_ = at::kFloat;
  void* zeros_ = nullptr;  // as large as the largest tensor
  size_t bytes_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::string> read_;
};

}  // namespace swage
