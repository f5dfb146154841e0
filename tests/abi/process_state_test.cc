// What a plugin changes around itself is undone when its call ends.
#include <c10/core/GradMode.h>
#include <sys/stat.h>

#include <cfenv>
#include <csignal>
#include <future>
#include <limits>
#include <thread>

#include "swage/call_site.h"
#include "tests/abi/support.h"

namespace swage {
namespace {

using namespace testing_support;

float half_of(float x) {
  volatile float value = x;
  return value / 2;
}

constexpr float kLeast = std::numeric_limits<float>::min();  // half of it is a denormal

TEST(ProcessState, APluginBuiltWithFastMathTakesNoDenormalsFromTheHost) {
  at::set_num_threads(2);
  ASSERT_TRUE(make("abi_fast_math", "good").ok());
  EXPECT_GT(half_of(kLeast), 0.0F);
  std::vector<float> of_threads(2);
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) of_threads[i] = half_of(kLeast);
  });
  EXPECT_GT(of_threads[0], 0.0F);
  EXPECT_GT(of_threads[1], 0.0F);
}

TEST(ProcessState, IsThatFromBeforeTheCallOnEveryThread) {
  at::set_num_threads(2);
  const fs::path folder = fs::current_path();
  const mode_t mask = umask(022);
  std::signal(SIGTERM, SIG_DFL);
  EXPECT_TRUE(call_plugin({"spoiler", "", ""}, [] {
                at::parallel_for(0, 2, 1, [](int64_t, int64_t) { std::fesetround(FE_UPWARD); });
                std::fesetround(FE_DOWNWARD);
                c10::GradMode::set_enabled(false);
                std::signal(SIGTERM, SIG_IGN);
                umask(0);
                fs::current_path("/");
                at::set_num_threads(1);
                errno = EDOM;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  std::vector<int> rounding(2);
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) rounding[i] = std::fegetround();
  });
  EXPECT_THAT(rounding, testing::Each(FE_TONEAREST));
  EXPECT_TRUE(c10::GradMode::is_enabled());
  EXPECT_EQ(std::signal(SIGTERM, SIG_DFL), SIG_DFL);
  EXPECT_EQ(umask(mask), 022u);
  EXPECT_EQ(fs::current_path(), folder);
  EXPECT_EQ(at::get_num_threads(), 2);
}

TEST(ProcessState, ACallThatBeginsInAnotherKeepsTheUmaskFromBeforeBoth) {
  const mode_t mask = umask(022);
  std::promise<void> begun, ended;
  std::thread other;
  static_cast<void>(call_plugin({"spoiler", "", ""}, [&] {
    umask(0);
    other = std::thread([&] {
      static_cast<void>(call_plugin({"other", "", ""}, [&] {
        begun.set_value();
        ended.get_future().wait();
        return absl::OkStatus();
      }));
    });
    begun.get_future().wait();
    return absl::OkStatus();
  }));
  ended.set_value();
  other.join();
  EXPECT_EQ(umask(mask), 022u);
}

}  // namespace
}  // namespace swage
