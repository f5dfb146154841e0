#include "swage/stats/accumulator.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "tests/kit/fixture.h"

namespace swage {
namespace {

Needs everything() { return Needs().hessian().absmax().mean_abs().range(); }

TEST(Accumulator, GivesEveryStatistic) {
  const at::Tensor x = test::f5().input;
  stats::Accumulator accumulator(everything(), 64, at::kDouble, at::kCPU);
  accumulator.add(x.narrow(0, 0, 100), {30, 70});
  accumulator.add(x.narrow(0, 100, 156), {0, 156});
  const SubsetStats stats = accumulator.finish();
  EXPECT_EQ(stats.tokens, 256);
  EXPECT_LT((stats.hessian - x.t().mm(x)).abs().max().item<double>(), 1e-9);
  EXPECT_TRUE(at::equal(stats.hessian, stats.hessian.t()));
  EXPECT_TRUE(at::equal(stats.absmax, x.abs().amax(0).to(at::kFloat)));
  EXPECT_LT((stats.mean_abs - x.abs().mean(0)).abs().max().item<double>(), 1e-6);
  EXPECT_EQ(stats.minimum.item<float>(), x.min().to(at::kFloat).item<float>());
  EXPECT_EQ(stats.maximum.item<float>(), x.max().to(at::kFloat).item<float>());
}

TEST(Accumulator, CollectsOnlyWhatIsAskedFor) {
  stats::Accumulator accumulator(Needs().absmax(), 64, at::kFloat, at::kCPU);
  accumulator.add(test::f5().input.to(at::kFloat), {256});
  const SubsetStats stats = accumulator.finish();
  EXPECT_TRUE(stats.absmax.defined());
  EXPECT_FALSE(stats.hessian.defined() || stats.mean_abs.defined() || stats.minimum.defined());
}

TEST(Accumulator, SumsOfManyChannelsDoNotDependOnThreads) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({1000, 1203});
  const int before = at::get_num_threads();
  std::vector<SubsetStats> results;
  for (const int threads : {1, 2, 3, 5}) {
    at::set_num_threads(threads);
    stats::Accumulator sums(Needs().mean_abs().absmax(), 1203, at::kFloat, at::kCPU);
    sums.add(x, {700, 300});
    results.push_back(sums.finish());
  }
  at::set_num_threads(before);
  for (const SubsetStats& other : results) {
    EXPECT_TRUE(at::equal(other.mean_abs, results[0].mean_abs));
    EXPECT_TRUE(at::equal(other.absmax, results[0].absmax));
  }
}

TEST(Accumulator, MicroBatchesAndThreadsDoNotChangeAByte) {
  const at::Tensor x = test::fixture(21, 1, 450, 384, {{3, 20}}).input.to(at::kFloat);
  const std::vector<int64_t> lengths = {128, 64, 192};
  const int before = at::get_num_threads();
  std::vector<SubsetStats> results;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    stats::Accumulator whole(everything(), 450, at::kFloat, at::kCPU),
        parts(everything(), 450, at::kFloat, at::kCPU);
    whole.add(x, lengths);
    int64_t first = 0;
    for (const int64_t length : lengths) {
      parts.add(x.narrow(0, first, length), {length});
      first += length;
    }
    results.push_back(whole.finish());
    results.push_back(parts.finish());
  }
  at::set_num_threads(before);
  for (const SubsetStats& other : results) {
    EXPECT_TRUE(at::equal(other.hessian, results[0].hessian));
    EXPECT_TRUE(at::equal(other.mean_abs, results[0].mean_abs));
    EXPECT_TRUE(at::equal(other.absmax, results[0].absmax));
  }
}

TEST(Accumulator, IsEmptyAfterFinish) {
  stats::Accumulator accumulator(Needs().hessian(), 64, at::kFloat, at::kCPU);
  accumulator.add(test::f5().input.to(at::kFloat), {256});
  EXPECT_EQ(accumulator.finish().tokens, 256);
  EXPECT_EQ(accumulator.finish().tokens, 0);
}

}  // namespace
}  // namespace swage
