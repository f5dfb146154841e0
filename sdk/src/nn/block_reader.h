#pragma once
#include <deque>
#include <string>

#include "absl/status/status.h"
#include "swage/model.h"
#include "swage/nn/norm.h"
#include "swage/weight_source.h"

namespace swage::nn {

// Reads modules by their path behind a prefix into the linears and parameters of their owner.
class BlockReader {
 public:
  BlockReader(const WeightSource& source, const LoadOptions& options, std::string prefix,
              std::deque<Linear>* linears, std::deque<Parameter>* parameters)
      : source_(source),
        options_(options),
        prefix_(std::move(prefix)),
        linears_(linears),
        parameters_(parameters) {}

  absl::Status linear(const std::string& name, int64_t out, int64_t in, bool bias, Linear** slot);
  absl::Status parameter(const std::string& name, const std::vector<int64_t>& shape,
                         Parameter** slot);
  // The parameters that a norm of that kind has, over `width` channels.
  absl::Status norm(const std::string& name, NormKind kind, double eps, int64_t width, Norm* norm);

 private:
  const WeightSource& source_;
  const LoadOptions& options_;
  std::string prefix_;
  std::deque<Linear>* linears_;
  std::deque<Parameter>* parameters_;
};

}  // namespace swage::nn
