// What a stop may change between two parts of a run: nothing, or it is told.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "tests/abi/support.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Resumed : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    fs::create_directories("plugins");
    for (const char* name : {"abi_faults", "abi_liar"})
      fs::copy(file(name), fs::path("plugins") / (std::string(name) + ".swage.so"));
  }
  void write(const std::string& fault, const std::string& rest = "") const {
    std::ofstream("pipeline.toml")
        << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
        << "\nsamples = 3\nlength = 24\n[[step]]\nuse = \"faulty-step\"\nfault = \"" << fault
        << "\"\nweight = { bits = 4, group = 32 }\n"
        << "[[export]]\nuse = \"liar\"\nhow = \"counts\"\npath = \"packed\"\n"
        << rest << "[run]\nwork = \"work\"\n";
  }
  static Answer run() { return swage({"--plugin-path", "plugins", "run", "pipeline.toml"}); }

  // As a compiler would make it of other sources: another build id, and here no other code.
  static void build_again(const std::string& plugin) {
    std::string bytes = read_text(plugin);
    const std::string note("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16);
    const size_t at = bytes.find(note);
    ASSERT_NE(at, std::string::npos) << "no build id of 20 bytes";
    bytes[at + note.size()] ^= 1;
    fs::remove(plugin);
    std::ofstream(plugin, std::ios::binary) << bytes;
  }
  static bool wait_for(const std::string& words) {
    for (int i = 0; i < 1500; ++i) {
      if (read_text("events.jsonl").find(words) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
};

TEST_F(Resumed, AMendedPluginGoesOnWhereItIsAcceptedAndTheResultNotesIt) {
  write("broken");
  const Answer broken = run();
  ASSERT_EQ(broken.code, 5) << broken.err;
  ASSERT_THAT(broken.err, HasSubstr("block 1: exception: broken in the second block"));
  std::ofstream("mended") << "";
  build_again("plugins/abi_faults.swage.so");
  const Answer refused = swage({"resume", "work"});
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_THAT(refused.err, AllOf(HasSubstr("plugins.org.example.faults.build_id"),
                                 HasSubstr("--accept-plugin-change")));
  EXPECT_FALSE(fs::exists("packed"));
  const Answer accepted = swage({"resume", "work", "--accept-plugin-change"});
  ASSERT_EQ(accepted.code, 0) << accepted.err;
  const Value result = must(parse_json(read_text("work/result.json"), "result.json"));
  EXPECT_THAT(to_json(result["notes"]),
              AllOf(HasSubstr("plugins changed behind 1 blocks: plugins.org.example.faults")));
  EXPECT_EQ(swage({"resume", "work"}).code, 0) << "accepted once is enough";
}

TEST_F(Resumed, AnotherConfigurationIsAcceptedByNoFlag) {
  write("broken");
  ASSERT_EQ(run().code, 5);
  std::ofstream("mended") << "";
  write("");
  const Answer refused = swage({"resume", "work", "--accept-plugin-change"});
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("step[0].params.fault"));
}

// Steps and exporters are made anew for every block: what they count begins again there, also where
// nothing disturbs the run.
TEST_F(Resumed, PluginsThatKeepStateAcrossBlocksEndInTheSameBytes) {
  write("broken, counts blocks");
  std::ofstream("mended") << "";
  ASSERT_EQ(run().code, 0);
  const auto expected = read_result("packed");
  EXPECT_EQ(read_text("packed/count.txt"), "0");
  for (const char* left : {"packed", "work", "mended"}) fs::remove_all(left);
  ASSERT_EQ(run().code, 5);
  std::ofstream("mended") << "";
  const Answer answer = swage({"resume", "work"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_TRUE(read_result("packed") == expected);
}

TEST_F(Resumed, SigtermDuringAnEvaluationEndsIt) {
  write("", "[[evaluate]]\nuse = \"faulty-measure\"\nfault = \"slow\"\n");
  const pid_t child =
      start({"--plugin-path", "plugins", "run", "pipeline.toml", "--events", "events.jsonl"});
  ASSERT_TRUE(wait_for("\"evaluate\""));
  const auto begin = std::chrono::steady_clock::now();
  kill(child, SIGTERM);
  const Answer answer = finish(child);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(answer.code, 130) << answer.err;
  EXPECT_LT(took.count(), 5) << "all windows would take 20 s";
  EXPECT_THAT(answer.err, HasSubstr("swage resume"));
  EXPECT_FALSE(fs::exists("packed"));
}

}  // namespace
}  // namespace swage::testing_support
