#include "swage/one_piece.h"

#include <gtest/gtest.h>
#include <omp.h>

namespace swage {
namespace {

class OnePieceTest : public ::testing::Test {
 protected:
  void SetUp() override { omp_set_num_threads(3); }
  void TearDown() override { omp_set_num_threads(before_); }

 private:
  const int before_ = omp_get_max_threads();
};

TEST_F(OnePieceTest, TakesOneThreadWhileItLives) {
  {
    const OnePiece outer;
    EXPECT_EQ(omp_get_max_threads(), 1);
    { const OnePiece inner; }
    EXPECT_EQ(omp_get_max_threads(), 1);
  }
  EXPECT_EQ(omp_get_max_threads(), 3);
}

TEST_F(OnePieceTest, GivesAllThreadsBackToWhatDoesNotDependOnThem) {
  const OnePiece outer;
  {
    const AllThreads all;
    EXPECT_EQ(omp_get_max_threads(), 3);
    {
      const OnePiece again;
      EXPECT_EQ(omp_get_max_threads(), 1);
    }
    EXPECT_EQ(omp_get_max_threads(), 3);
  }
  EXPECT_EQ(omp_get_max_threads(), 1);
  const AllThreads all;
  EXPECT_EQ(omp_get_max_threads(), 3) << "an inner piece ended meanwhile";
}

TEST_F(OnePieceTest, LeavesThreadsAloneWhereThereIsNone) {
  const AllThreads all;
  EXPECT_EQ(omp_get_max_threads(), 3);
}

}  // namespace
}  // namespace swage
