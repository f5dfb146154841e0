#include "core/base/exit_codes.h"

#include <gtest/gtest.h>

#include "swage/status.h"

namespace swage {
namespace {

TEST(ExitCodes, FollowFromTheStatusCode) {
  EXPECT_EQ(exit_code(absl::OkStatus()), 0);
  EXPECT_EQ(exit_code(absl::InternalError("x")), 1);
  EXPECT_EQ(exit_code(absl::DataLossError("x")), 4);
  EXPECT_EQ(exit_code(absl::ResourceExhaustedError("x")), 7);
  EXPECT_EQ(exit_code(absl::CancelledError("x")), 130);
}

TEST(ExitCodes, KeepTheFirstClassThroughAnnotations) {
  absl::Status status = with_exit_code(absl::InvalidArgumentError("x"), ExitCode::kPlugin);
  status = with_exit_code(annotate(status, "layer 3"), ExitCode::kPipeline);
  EXPECT_EQ(exit_code(status), 5);
  EXPECT_EQ(status.message(), "layer 3: x");
  EXPECT_TRUE(with_exit_code(absl::OkStatus(), ExitCode::kPlugin).ok());
}

}  // namespace
}  // namespace swage
