#include "core/engine/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "core/base/exit_codes.h"

namespace swage {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Process, MeasuresItself) {
  const int64_t before = current_host_bytes();
  EXPECT_GT(before, 1 << 20);
  const std::string page(64 << 20, 'x');
  EXPECT_GT(current_host_bytes(), before + (32 << 20)) << page.size();
  EXPECT_GE(peak_host_bytes(), current_host_bytes());
  EXPECT_GT(cpu_seconds(), 0);
}

TEST(Process, OpensTheCpu) {
  const auto device = open_device("cpu");
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(*device, c10::Device(c10::kCPU));
}

TEST(Process, SaysWhatIsMissingForCuda) {
  const auto device = open_device("cuda");
  if (device.ok()) {
    EXPECT_EQ(*device, c10::Device(c10::kCUDA, 0));
    EXPECT_THAT(std::string(open_device("cuda:99").status().message()),
                HasSubstr("\"cuda:99\" does not exist: this machine has"));
    return;
  }
  EXPECT_EQ(exit_code(device.status()), static_cast<int>(ExitCode::kPipeline));
  EXPECT_THAT(std::string(device.status().message()),
              AllOf(HasSubstr("device \"cuda\": LibTorch's CUDA library"),
                    HasSubstr("use [run] device = \"cpu\"")));
}

TEST(Process, NamesTheDevicesThatItKnows) {
  for (const char* name : {"tpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "CPU", ""}) {
    const absl::Status status = open_device(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("\"" + std::string(name) + "\" is no device"),
                      HasSubstr("\"cpu\", \"cuda\" and \"cuda:N\"")));
  }
}

// In a process of its own: what it ends with is the number of the check that failed.
template <class Work>
int in_child(Work work) {
  const pid_t id = fork();
  if (id == 0) _exit(work());
  int status = 0;
  waitpid(id, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Process, StopsAtTheFirstSignalAndEndsAtTheSecond) {
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EQ(in_child([&] {
                close(STDERR_FILENO);
                install_interrupt_handler();
                if (!interrupted().ok()) return 1;
                raise(signal);
                if (interrupted().code() != absl::StatusCode::kCancelled) return 2;
                if (exit_code(interrupted()) != 130) return 3;
                raise(signal);
                return 4;
              }),
              130);
  }
}

}  // namespace
}  // namespace swage
