#pragma once
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/engine/forwarding_source.h"
#include "swage/value.h"

namespace swage {

// Tensors of a checkpoint, and which of them were read.
class ReadLog : public ForwardingSource {
 public:
  using ForwardingSource::ForwardingSource;
  std::vector<std::string> unread() const;

  absl::StatusOr<at::Tensor> read(std::string_view name) const override;
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override;

 private:
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

// Of config.json, but for what says how weights are stored: that, and what lies under one of
// `keys`.
std::vector<std::string> config_differences(const Value& given, const Value& found,
                                            const std::set<std::string>& keys);
// Of one that was made from another description: numbers and switches that both name. The numbers
// may have been fp32 meanwhile.
std::vector<std::string> number_differences(const Value& given, const Value& found);

}  // namespace swage
