#include "swage/stats/logits.h"

#include "stats/logits_kernels.h"
#include "swage/status.h"

namespace swage::stats {
namespace {

constexpr int64_t kRowsPerTask = 4;

at::Tensor rows_of_floats(const at::Tensor& logits) {
  SWAGE_CHECK(logits.dim() == 2 && logits.size(1) > 0);
  return logits.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

at::Tensor log_sum_exp(const at::Tensor& logits) {
  const at::Tensor x = rows_of_floats(logits);
  const int64_t rows = x.size(0), vocab = x.size(1);
  const at::Tensor result = at::empty({rows}, at::kDouble);
  const float* in = x.const_data_ptr<float>();
  auto* out = result.mutable_data_ptr<double>();
  at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const kernels::RowSum sum = kernels::exp_sum(in + row * vocab, static_cast<size_t>(vocab));
      out[row] = static_cast<double>(sum.max) + std::log(sum.sum);
    }
  });
  return result;
}

LogitsComparison compare_logits(const at::Tensor& original, const at::Tensor& compressed) {
  const at::Tensor p = rows_of_floats(original), q = rows_of_floats(compressed);
  SWAGE_CHECK(p.sizes() == q.sizes());
  const int64_t rows = p.size(0), vocab = p.size(1);
  LogitsComparison result{at::empty({rows}, at::kDouble), at::empty({rows}, at::kBool)};
  const float *p_in = p.const_data_ptr<float>(), *q_in = q.const_data_ptr<float>();
  auto* divergence = result.divergence.mutable_data_ptr<double>();
  auto* same_top = result.same_top.mutable_data_ptr<bool>();
  at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto compared =
          kernels::compare(p_in + row * vocab, q_in + row * vocab, static_cast<size_t>(vocab));
      divergence[row] = compared.divergence;
      same_top[row] = compared.same_top;
    }
  });
  return result;
}

}  // namespace swage::stats
