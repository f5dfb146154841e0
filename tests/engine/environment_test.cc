// The command under environments and limits that change what libraries do.
#include <gmock/gmock.h>

#include <set>

#include "core/base/exit_codes.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AnyOf;

class Environment : public CommandTest {
 protected:
  void write_pipeline() const {
    std::ofstream("pipeline.toml")
        << pipeline("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n" + perplexity() +
                    "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
                    "[run]\nwork = \"work\"\nthreads = 2\n");
  }
  Answer run_anew() {
    fs::remove_all("work");
    fs::remove_all("packed");
    return swage({"run", "pipeline.toml"});
  }
};

TEST_F(Environment, FewerThreadsThanAskedForGiveTheSameBytes) {
  write_pipeline();
  ASSERT_EQ(run_anew().code, 0);
  const auto expected = read_folder("packed");
  for (const char* setting :
       {"OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true", "OMP_MAX_ACTIVE_LEVELS=0"}) {
    SCOPED_TRACE(setting);
    const std::string text = setting;
    const std::string name = text.substr(0, text.find('='));
    ASSERT_EQ(setenv(name.c_str(), text.substr(name.size() + 1).c_str(), 1), 0);
    const Answer answer = run_anew();
    unsetenv(name.c_str());
    EXPECT_EQ(answer.code, 0) << answer.err;
    EXPECT_TRUE(read_folder("packed") == expected);
  }
}

TEST_F(Environment, RunsAtOnceShareAReferenceCache) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const std::string name = std::to_string(i);
    std::ofstream(name + ".toml") << pipeline(
        "[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 32 }\n" + perplexity() +
        "[run]\nthreads = 1\nreference_cache = \"cache\"\nwork = \"work-" + name + "\"\n");
    children.push_back(start({"run", name + ".toml", "--quiet"}));
  }
  std::set<std::string> figures;
  for (size_t i = 0; i < children.size(); ++i) {
    EXPECT_EQ(finish(children[i]).code, 0);
    const std::string file = "work-" + std::to_string(i) + "/result.json";
    figures.insert(to_json(must(parse_json(read_text(file), file))["metrics"]));
  }
  EXPECT_EQ(figures.size(), 1u);
  int64_t left = 0;  // one file, and nothing of those who lost
  for (const auto& entry : fs::directory_iterator("cache")) left += entry.exists() ? 1 : 0;
  EXPECT_EQ(left, 1);
}

TEST_F(Environment, LittleAddressSpaceIsSaidAndNeverACrash) {
  write_pipeline();
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  if (before.rlim_cur != RLIM_INFINITY) GTEST_SKIP() << "the address space is limited already";
  for (const rlim_t mib : {350, 450, 500, 550, 650, 900}) {
    SCOPED_TRACE(mib);
    fs::remove_all("work");
    fs::remove_all("packed");
    const pid_t child = fork();
    if (child == 0) {
      const rlimit limit = {mib << 20, before.rlim_max};
      if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(126);
      const Answer answer = swage({"run", "pipeline.toml"});
      std::ofstream("code.txt") << answer.code;
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const std::string code = read_text("code.txt");
    EXPECT_THAT(code, AnyOf("0", "7")) << read_text("err.txt");
    if (code == "7") {
      EXPECT_THAT(read_text("err.txt"), ::testing::HasSubstr("error: "));
    }
  }
}

}  // namespace
}  // namespace swage::testing_support
