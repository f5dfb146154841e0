#include "swage/product.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "swage/linear.h"
#include "tests/kit/fixture.h"

namespace swage {
namespace {

at::Tensor numbers(uint32_t seed, int64_t rows, int64_t columns) {
  return test::fixture(seed, rows, columns, 1, {}).weight.to(at::kFloat);
}

TEST(Product, IsTheMatrixProduct) {
  for (const auto& [m, k, n] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {3, 70, 5}, {64, 65, 66}, {130, 33, 257}}) {
    const at::Tensor a = numbers(1, m, k), b = numbers(2, n, k).t();
    EXPECT_LT((product(a, b).to(at::kDouble) - a.to(at::kDouble).mm(b.to(at::kDouble)))
                  .abs()
                  .max()
                  .item<double>(),
              1e-5);
    at::Tensor wide = at::ones({m, n + 7});
    add_product(wide.narrow(1, 3, n), a, b, -1);
    EXPECT_LT((wide.narrow(1, 3, n) - 1 + a.mm(b)).abs().max().item<float>(), 1e-5);
    EXPECT_TRUE(at::equal(wide.narrow(1, 0, 3), at::ones({m, 3})));
  }
  EXPECT_EQ(product(at::zeros({0, 4}), at::zeros({4, 3})).sizes(), (c10::IntArrayRef{0, 3}));
}

TEST(Product, RowsDoNotDependOnTheirNumberNorOnThreads) {
  const int before = at::get_num_threads();
  for (const int64_t in : {64, 200, 576}) {
    for (const int64_t out : {48, 192, 1000}) {
      const at::Tensor x = numbers(3, 520, in), w = numbers(4, out, in);
      at::set_num_threads(1);
      const at::Tensor whole = product(x, w.t());
      for (const int threads : {1, 2}) {
        at::set_num_threads(threads);
        for (const int64_t rows : {1, 7, 32, 63, 64, 65, 100, 128, 200, 520}) {
          EXPECT_TRUE(at::equal(product(x.narrow(0, 0, rows), w.t()), whole.narrow(0, 0, rows)))
              << in << " " << out << " " << rows << " " << threads;
        }
      }
    }
  }
  at::set_num_threads(before);
}

TEST(Product, GradientsPassThroughAffine) {
  const at::Tensor x = numbers(5, 9, 16).requires_grad_(), w = numbers(6, 4, 16),
                   bias = numbers(7, 1, 4).flatten();
  const at::Tensor y = affine(x, w, bias);
  y.sum().backward();
  EXPECT_LT((x.grad() - w.sum(0)).abs().max().item<float>(), 1e-6);
  EXPECT_LT((affine(x.detach(), w, bias) - y.detach()).abs().max().item<float>(), 1e-6);
}

// Blocks add to what a linear gives, of few rows too, which a product cuts out of more.
TEST(Product, WhatALearnedLinearGivesCanBeWrittenTo) {
  const at::Tensor x = numbers(5, 9, 16), w = numbers(6, 4, 16).requires_grad_();
  at::Tensor y = affine(x, w, {});
  y.add_(1);
  y.sum().backward();
  EXPECT_LT((w.grad() - x.sum(0)).abs().max().item<float>(), 1e-5);
}

}  // namespace
}  // namespace swage
