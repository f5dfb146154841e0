// Sums of columns on every instruction set against those that are written to be read.
#include "swage/stats/column_errors.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <vector>

#include "tests/kit/format_support.h"

namespace swage::test {
namespace {

void expect_plain(int64_t rows, int64_t stride, int64_t width) {
  Generator random(static_cast<uint32_t>(rows * 31 + width));
  std::vector<float> floats, result;
  for (int64_t i = 0; i < rows * stride; ++i) {
    const bool zero = i % stride % 5 == 0;
    floats.push_back(i % stride % 7 == 0 ? 0.f : static_cast<float>(random.normal()));
    result.push_back(zero ? -0.f : floats.back() + static_cast<float>(random.normal()) / 8);
  }
  const auto plain =
      stats::plain::column_errors<float>(floats.data(), result.data(), rows, stride, width);
  const auto fast = stats::column_errors(floats.data(), result.data(), rows, stride, width);
  EXPECT_EQ(fast.weight, plain.weight) << rows << " x " << width;
  EXPECT_EQ(fast.difference, plain.difference) << rows << " x " << width;
  EXPECT_EQ(fast.zeroed, plain.zeroed) << rows << " x " << width;
  EXPECT_EQ(plain.zeroed > 0, width > 5);
}

TEST(ColumnErrors, AreThePlainOnesOnEveryInstructionSet) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (const int64_t width : {1, 3, 8, 17, 64, 255, 256}) expect_plain(37, 261, width);
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace
}  // namespace swage::test
