// Runs of the command that are stopped on their way: by a full disk, by a limit, by Ctrl-C.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <chrono>
#include <thread>

#include "core/base/exit_codes.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

constexpr int kResources = static_cast<int>(ExitCode::kResources);
constexpr int kInterrupted = static_cast<int>(ExitCode::kInterrupted);

class DisturbedRun : public CommandTest {
 protected:
  // Everything that is written lies under `place`. Few tokens: the export is the largest file.
  void write_pipeline(const std::string& place, int windows) const {
    std::ofstream("pipeline.toml")
        << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
        << "\nsamples = " << windows << "\nlength = 48\n"
        << "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n"
        << "[[evaluate]]\nuse = \"perplexity\"\nsource = " << data("evaluation.txt")
        << "\nlength = 48\nwindows = " << windows << "\n"
        << "[[export]]\nuse = \"compressed-tensors\"\npath = \"" << place << "/packed\"\n"
        << "[run]\nwork = \"" << place << "/work\"\n";
  }

  Files undisturbed(int windows) {
    write_pipeline("calm", windows);
    const Answer answer = swage({"run", "pipeline.toml"});
    EXPECT_EQ(answer.code, 0) << answer.err;
    return read_folder("calm/packed");
  }

  // The error of a full disk: what to do is said, and no program but the run is at fault.
  static void expect_full(const Answer& answer) {
    EXPECT_EQ(answer.code, kResources) << answer.err;
    EXPECT_THAT(answer.err, HasSubstr("error: "));
    EXPECT_THAT(answer.err, HasSubstr("space"));
  }

  // Continues when there is room, or begins when there was none for the journal. Tells how many
  // blocks had been committed.
  size_t expect_same_bytes(const std::string& place, const Files& expected) {
    const std::string work = place + "/work";
    const bool begun = fs::exists(work + "/run.db");
    const size_t blocks = begun ? must(must(Journal::open(work)).all("block")).size() : 0;
    const Answer answer = begun ? swage({"resume", work}) : swage({"run", "pipeline.toml"});
    EXPECT_EQ(answer.code, 0) << answer.err;
    EXPECT_TRUE(read_folder(place + "/packed") == expected);
    return blocks;
  }
};

TEST_F(DisturbedRun, ByAFileLimitEndsInTheSameBytesAfterResume) {
  const Files expected = undisturbed(1);
  write_pipeline("limited", 1);
  size_t most_blocks = 0;
  for (const rlim_t kib : {8, 40, 80, 130}) {
    SCOPED_TRACE(kib);
    expect_full(finish(start({"run", "pipeline.toml"}, kib * 1024)));
    EXPECT_FALSE(fs::exists("limited/packed"));
    most_blocks = std::max(most_blocks, expect_same_bytes("limited", expected));
    fs::remove_all("limited");
  }
  EXPECT_EQ(most_blocks, 2u) << "the last limit is there to stop the export";
}

// A file system of its own, gone with the test.
class SmallDisk {
 public:
  explicit SmallDisk(std::string folder) : folder_(std::move(folder)) {
    fs::create_directories(folder_);
  }
  ~SmallDisk() {
    if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool mount(int kib) { return mounted_ = set(kib, 0); }
  bool grow() { return set(64 << 10, MS_REMOUNT); }

 private:
  bool set(int kib, unsigned long flags) const {
    const std::string size = "size=" + std::to_string(kib) + "k";
    return ::mount("swage-test", folder_.c_str(), "tmpfs", flags, size.c_str()) == 0;
  }
  const std::string folder_;
  bool mounted_ = false;
};

TEST_F(DisturbedRun, ByAFullDiskEndsInTheSameBytesAfterResume) {
  const Files expected = undisturbed(4);
  write_pipeline("disk", 4);
  int full = 0;
  size_t most_blocks = 0;
  for (const int kib : {16, 96, 192, 288, 384, 480}) {
    SCOPED_TRACE(kib);
    SmallDisk disk("disk");
    if (!disk.mount(kib)) GTEST_SKIP() << "this user cannot mount a small disk";
    const Answer answer = swage({"run", "pipeline.toml"});
    if (answer.code == 0) break;
    expect_full(answer);
    ++full;
    ASSERT_TRUE(disk.grow());
    most_blocks = std::max(most_blocks, expect_same_bytes("disk", expected));
  }
  EXPECT_GE(full, 3);
  EXPECT_GE(most_blocks, 1u);
}

// Until the run is at work on its blocks; false when it ended before.
bool wait_for_blocks(const fs::path& events) {
  for (int tries = 0; tries < 10000; ++tries) {
    const std::string text = read_text(events);
    if (text.find("phase_end") != std::string::npos) return false;
    if (text.find("phase_begin") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  return false;
}

TEST_F(DisturbedRun, ByASignalEndsInTheSameBytesAfterResume) {
  const Files expected = undisturbed(64);
  write_pipeline("stopped", 64);
  for (const int signal : {SIGINT, SIGTERM}) {
    fs::remove("events.jsonl");
    const pid_t child = start({"run", "pipeline.toml", "--events", "events.jsonl"});
    const bool at_work = wait_for_blocks("events.jsonl");
    kill(child, signal);
    const Answer answer = finish(child);
    ASSERT_TRUE(at_work) << answer.err;
    EXPECT_EQ(answer.code, kInterrupted) << answer.err;
    EXPECT_THAT(answer.err, HasSubstr("swage resume"));
    EXPECT_EQ(expect_same_bytes("stopped", expected), 1u);
    fs::remove_all("stopped");
  }
}

}  // namespace
}  // namespace swage::testing_support
