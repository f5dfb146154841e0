#pragma once
#include <string>
#include <vector>

#include "swage/weight_source.h"

namespace swage {

// Another source as it is: what only changes some of the answers derives from it.
class ForwardingSource : public WeightSource {
 public:
  explicit ForwardingSource(const WeightSource& source) : source_(source) {}
  std::vector<std::string> names() const override { return source_.names(); }
  bool has(std::string_view name) const override { return source_.has(name); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    return source_.shape(name);
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    return source_.dtype(name);
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    return source_.read(name);
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    return source_.read_rows(name, begin, end);
  }

 protected:
  const WeightSource& source() const { return source_; }

 private:
  const WeightSource& source_;
};

}  // namespace swage
