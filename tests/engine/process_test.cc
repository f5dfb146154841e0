#include "core/engine/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
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

// What a child with these standard errors writes to it.
template <class Work>
std::string said(Work work) {
  int ends[2];
  if (pipe(ends) != 0) return "";
  in_child([&] {
    dup2(ends[1], STDERR_FILENO);
    work();
    return 0;
  });
  close(ends[1]);
  std::string text(4096, '\0');
  const ssize_t got = read(ends[0], text.data(), text.size());
  close(ends[0]);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

TEST(Process, ClearsABarBeforeItSaysThatItStops) {
  EXPECT_EQ(said([] {
              install_interrupt_handler();
              commits_go_to("");
              bar_is_drawn(true);
              raise(SIGTERM);
            }),
            "\r\x1b[Kstopping; again to stop at once\n");
  EXPECT_EQ(said([] {
              install_interrupt_handler();
              commits_go_to("/w");
              raise(SIGINT);
            }),
            "stopping once the block at work is committed; again to stop at once\n");
}

TEST(Process, SaysTheCommandThatGoesOn) {
  EXPECT_EQ(in_child([] {
              close(STDERR_FILENO);
              install_interrupt_handler();
              commits_go_to("");
              raise(SIGINT);
              if (interrupted().message() != "interrupted; nothing was written") return 1;
              commits_go_to("/runs/it's mine");
              const std::string text(interrupted().message());
              const std::string end = "go on with: swage resume '/runs/it'\\''s mine'";
              return text.substr(text.size() - std::min(text.size(), end.size())) == end ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace swage
