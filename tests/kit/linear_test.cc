#include "swage/linear.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "nn_support.h"

namespace swage {
namespace {

TEST(AffineTest, ARowsBytesDoNotDependOnTheNumberOfRowsOrThreads) {
  for (int64_t in : {24, 64, 576}) {
    for (int64_t out : {1, 2, 6, 12, 17, 192}) {
      const at::Tensor weight = at::randn({out, in}, at::kFloat),
                       bias = at::randn({out}, at::kFloat);
      const at::Tensor x = at::randn({300, in}, at::kFloat);
      at::set_num_threads(1);
      const at::Tensor whole = affine(x, weight, bias);
      EXPECT_TRUE(whole.allclose(at::linear(x, weight, bias), 1e-4, 1e-4));
      for (int threads : {1, 2}) {
        at::set_num_threads(threads);
        for (int64_t rows : {1, 2, 3, 4, 7, 15, 16, 31, 33, 98, 300}) {
          EXPECT_TRUE(affine(x.slice(0, 0, rows), weight, bias).equal(whole.slice(0, 0, rows)))
              << rows << " rows, " << in << " to " << out << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST(AffineTest, NoRowsGiveNoRows) {
  EXPECT_EQ(affine(at::zeros({0, 3}), at::ones({2, 3}), {}).sizes(), (std::vector<int64_t>{0, 2}));
}

}  // namespace
}  // namespace swage
