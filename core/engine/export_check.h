#pragma once
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "swage/value.h"
#include "swage/weight_source.h"

namespace swage {

// Tensors of a checkpoint, and which of them were read.
class ReadLog : public WeightSource {
 public:
  explicit ReadLog(const WeightSource& source) : source_(source) {}
  std::vector<std::string> unread() const;

  std::vector<std::string> names() const override { return source_.names(); }
  bool has(std::string_view name) const override { return source_.has(name); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    return source_.shape(name);
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    return source_.dtype(name);
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override;
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override;

 private:
  const WeightSource& source_;
  mutable std::mutex mutex_;
  mutable std::set<std::string, std::less<>> read_;
};

// The same names and shapes, and zeros in all tensors but those of few values.
class OtherValues final : public ReadLog {
 public:
  using ReadLog::ReadLog;
  absl::StatusOr<at::Tensor> read(std::string_view name) const override;
};

// What of an export's files differs from those beside the model's weights. Files that only the
// export has count where programs that serve models look for such a name.
std::vector<std::string> export_file_differences(const Value& model, const Value& found);

// Of config.json, but for what says how weights are stored.
std::vector<std::string> config_differences(const Value& given, const Value& found);

}  // namespace swage
