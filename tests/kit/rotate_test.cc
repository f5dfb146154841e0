#include "swage/transform/rotate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage::transform {
namespace {

using ::testing::HasSubstr;

uint64_t random_bits(uint64_t counter) {
  uint64_t x = counter * 0x9e3779b97f4a7c15u + 99;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

double distance_from_identity(const at::Tensor& q) {
  return (q.matmul(q.t()) - at::eye(q.size(0), at::kDouble)).abs().max().item<double>();
}

TEST(Hadamard, WidthsOfModelsAreOrthogonalWithEntriesOfOneSize) {
  // 12, 20, 28, 36, 44, 60, 68, 76, 108, 140: Paley's; times powers of two: widths of published
  // models.
  for (int64_t n : {1,  2,  4,   12,  20,  28,  36,  40,  44,   60,  64,
                    68, 76, 108, 128, 140, 576, 896, 960, 1536, 2560}) {
    const auto h = hadamard(n);
    ASSERT_TRUE(h.ok()) << n << ": " << h.status();
    EXPECT_LT(distance_from_identity(*h), 1e-12) << n;
    const double entry = 1 / std::sqrt(static_cast<double>(n));
    EXPECT_LT((h->abs() - entry).abs().max().item<double>(), 1e-12) << n;
    EXPECT_GT(h->slice(0, 0, 1).min().item<double>(), 0) << n;
    EXPECT_GT(h->slice(1, 0, 1).min().item<double>(), 0) << n;
  }
}

TEST(Hadamard, OtherWidthsAreNamed) {
  for (int64_t n : {3, 6, 7, 172, 1376})
    EXPECT_THAT(std::string(hadamard(n).status().message()), HasSubstr(std::to_string(n))) << n;
}

TEST(RandomRotation, IsOrthogonalForEveryWidthAndKeepsTheMeanOnRequest) {
  for (int64_t n : {1, 2, 7, 24, 36, 64, 172}) {
    for (const Rotation kind : {Rotation::kHadamard, Rotation::kRandom}) {
      for (const bool keeps_mean : {false, true}) {
        const at::Tensor q = random_rotation(n, kind, keeps_mean, random_bits);
        EXPECT_LT(distance_from_identity(q), 1e-12) << n;
        const at::Tensor ones = at::ones({1, n}, at::kDouble);
        const double moved = (ones.matmul(q) - ones).abs().max().item<double>();
        if (keeps_mean) {
          EXPECT_LT(moved, 1e-12) << n;
        } else if (n > 6) {
          EXPECT_GT(moved, 1e-3) << n;
        }
      }
    }
  }
}

TEST(RandomRotation, SpreadsOneChannelOverAll) {
  for (const bool keeps_mean : {false, true}) {
    const at::Tensor q = random_rotation(64, Rotation::kHadamard, keeps_mean, random_bits);
    EXPECT_LT(q.abs().max().item<double>(), 0.7) << "no channel keeps most of an outlier";
  }
}

}  // namespace
}  // namespace swage::transform
