#pragma once
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/exporter.h"
#include "swage/io/gguf.h"

// What is stored, as the tensors of a GGUF file.
namespace swage::gguf {

enum class Floats { kCheckpoint, kBf16, kF16, kF32 };

constexpr char kDivisorPart[] = "gguf_divisor";  // of NVFP4, until the file has its factor

// What an export has put, under the names of a Hugging Face checkpoint.
class Stored {
 public:
  explicit Stored(const WeightSource& tensors) : tensors_(tensors) {}
  absl::Status look();

  const io::TensorShapes& shapes() const { return shapes_; }  // in values
  // The type of the blocks of "X.weight"; F32, F16 or BF16 for numbers.
  absl::StatusOr<uint32_t> type_of(const std::string& name) const;
  // Rows of it, all where end < 0: bytes of blocks, or fp32.
  absl::StatusOr<at::Tensor> rows(const std::string& name, int64_t begin, int64_t end) const;
  absl::StatusOr<float> divisor(const std::string& linear) const;

 private:
  struct Rows {
    std::string tensor;  // as it was put
    uint32_t type = 0;
  };
  const WeightSource& tensors_;
  io::TensorShapes shapes_;
  std::map<std::string, Rows, std::less<>> blocks_;
};

// The tensors of the file in order. `stored` outlives them. InvalidArgument: what the file joins
// has different types, or is compressed and does not go there row by row.
absl::StatusOr<std::vector<io::GgufEntry>> entries_of(const io::GgufPlans& plans,
                                                      const Stored& stored, Floats floats);

}  // namespace swage::gguf
