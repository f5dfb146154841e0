#include "core/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swage {
namespace {

TEST(Log, StartsLinesWithTheTimeWhenNoTerminalReadsThem) {
  testing::internal::CaptureStderr();
  log_info("block 3 of 30 {not a format}");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::MatchesRegex("....-..-.. ..:..:.. block 3 of 30 \\{not a format\\}\n"));
}

TEST(Log, DropsWhatIsBelowTheLevel) {
  testing::internal::CaptureStderr();
  set_log_level(LogLevel::kWarning);
  log_info("detail");
  log_warning("careful");
  log_error("broken");
  set_log_level(LogLevel::kInfo);
  log_debug("more detail");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::MatchesRegex(".* warning: careful\n.* error: broken\n"));
}

}  // namespace
}  // namespace swage
