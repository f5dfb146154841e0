// What the command does on a terminal.
#include <gmock/gmock.h>
#include <pty.h>

#include "core/base/exit_codes.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class TerminalTest : public CommandTest {
 protected:
  // A run of some seconds.
  void SetUp() override {
    CommandTest::SetUp();
    std::ofstream("slow.toml") << pipeline(
        "[[step]]\nuse = \"omniquant\"\nepochs = 60\nweight = { bits = 4, group = 32 }\n");
  }

  // Both outputs of `swage` on a terminal of this environment; the signal comes once `seen` was
  // read.
  static Answer on_terminal(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& environment, const std::string& seen,
                            int signal) {
    const std::string program = std::string(std::getenv("SWAGE_BUILD_DIR")) + "/bin/swage";
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    int terminal = -1;
    winsize size = {24, 100, 0, 0};
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
      for (const char* name : {"NO_COLOR", "LC_ALL", "LANG"}) unsetenv(name);
      for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    Answer answer;
    bool sent = false;
    char bytes[4096];
    for (ssize_t got; (got = read(terminal, bytes, sizeof bytes)) > 0;) {
      answer.out.append(bytes, static_cast<size_t>(got));
      if (!sent && answer.out.find(seen) != std::string::npos) sent = kill(child, signal) == 0;
    }
    close(terminal);
    int status = 0;
    waitpid(child, &status, 0);
    answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return answer;
  }
};

TEST_F(TerminalTest, TheBarIsClearedAndTheCommandThatGoesOnIsSaid) {
  for (const int signal : {SIGINT, SIGTERM}) {
    fs::remove_all("it's");
    const Answer answer = on_terminal({"run", "slow.toml", "--work", "it's"},
                                      {"TERM=xterm", "LC_ALL=C.UTF-8"}, "━", signal);
    EXPECT_EQ(answer.code, static_cast<int>(ExitCode::kInterrupted)) << answer.out;
    const size_t told = answer.out.find("\r\x1b[Kstopping once the block at work is committed");
    ASSERT_NE(told, std::string::npos) << answer.out;
    EXPECT_THAT(answer.out.substr(told), Not(HasSubstr("━")));
    EXPECT_THAT(answer.out, EndsWith("go on with: swage resume '" + fs::absolute("it").string() +
                                     "'\\''s'\r\n"));
    const Answer resumed = swage({"resume", "it's", "--quiet"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
  }
}

TEST_F(TerminalTest, PlainOnesGetPlainText) {
  for (const std::vector<std::string>& environment :
       {std::vector<std::string>{"TERM=dumb", "LC_ALL=C.UTF-8"},
        {"TERM=xterm", "LC_ALL=C"},
        {"TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=1"}}) {
    fs::remove_all("runs");
    const Answer answer = on_terminal({"run", "slow.toml", "--set", "step.omniquant.epochs=1"},
                                      environment, "never", SIGINT);
    EXPECT_EQ(answer.code, 0) << answer.out;
    EXPECT_THAT(answer.out, HasSubstr("compress 1 of 2: block 0"));
    for (const char c : answer.out)
      EXPECT_TRUE(c == '\r' || c == '\n' || (c >= ' ' && c <= '~')) << answer.out;
  }
}

}  // namespace
}  // namespace swage::testing_support
