#pragma once
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>

#include "tests/engine/run_support.h"

namespace swage::testing_support {

struct Answer {
  int code = -1;  // as a shell would say it: 128 + signal when a signal ended it
  std::string out, err;
};

// The command itself in the folder of RunTest, as a user or a build job calls it.
class CommandTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_NE(std::getenv("SWAGE_BUILD_DIR"), nullptr) << "names the build folder";
  }

  // In the child, `prepare` comes before the command.
  static pid_t start_with(const std::vector<std::string>& arguments,
                          const std::function<void()>& prepare) {
    const std::string program = std::string(std::getenv("SWAGE_BUILD_DIR")) + "/bin/swage";
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child != 0) return child;
    prepare();
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  // No file may grow beyond `file_bytes`.
  static pid_t start(const std::vector<std::string>& arguments, rlim_t file_bytes = RLIM_INFINITY) {
    return start_with(arguments, [&] {
      const int out = open("out.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644);
      const int err = open("err.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644);
      const rlimit limit = {file_bytes, file_bytes};
      if (dup2(out, 1) < 0 || dup2(err, 2) < 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(126);
    });
  }
  static int code_of(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  static Answer finish(pid_t child) {
    const int code = code_of(child);
    return {code, read_text("out.txt"), read_text("err.txt")};
  }
  static Answer swage(const std::vector<std::string>& arguments) {
    return finish(start(arguments));
  }
};

}  // namespace swage::testing_support
