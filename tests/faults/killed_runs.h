#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace swage::faults {

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

inline std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::map<std::string, std::string> read_folder(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder)] = read(entry.path());
  }
  return files;
}

// `swage ARGUMENTS` in a folder, its output added to log.txt there.
inline pid_t start(const fs::path& folder, const std::vector<std::string>& arguments) {
  const std::string program = environment("SWAGE_BUILD_DIR") + "/bin/swage";
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  const int log = open((folder / "log.txt").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (chdir(folder.c_str()) != 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(126);
  execv(program.c_str(), argv.data());
  _exit(127);
}

struct Ended {
  bool killed = false;
  int code = 0;
  double seconds = 0;
};

// Waits for the end, or kills the process when `limit` seconds have passed.
inline Ended finish(pid_t child, double limit) {
  const auto begin = Clock::now();
  for (;;) {
    int status = 0;
    const bool over = waitpid(child, &status, WNOHANG) == child;
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (over) return {false, WIFEXITED(status) ? WEXITSTATUS(status) : -1, seconds};
    if (seconds >= limit) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return {!WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : -1, seconds};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class KilledRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("swage-faults-" + std::to_string(getpid()));
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  // Two exports, evaluation and verification: every phase can be hit.
  void write_pipeline(const std::string& model, const std::string& calibration,
                      const std::string& steps, const std::string& evaluation) {
    std::ofstream(root_ / "pipeline.toml")
        << "[model]\n"
        << model << "[calibration]\n"
        << calibration << steps << "[[evaluate]]\nuse = \"perplexity\"\n"
        << evaluation << "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
        << "[[export]]\nuse = \"huggingface\"\npath = \"dense\"\n[run]\nwork = \"work\"\n";
  }

  fs::path fresh_folder(const std::string& name) {
    fs::create_directories(root_ / name);
    return root_ / name;
  }

  // Continues until the run is done, killed at up to `kills` instants drawn from the length of an
  // undisturbed run.
  void disturb(const fs::path& folder, double length, int kills, std::mt19937* random) {
    const std::vector<std::string> run = {"run", (root_ / "pipeline.toml").string()},
                                   resume = {"resume", "work"};
    std::uniform_real_distribution<double> instant(0, length);
    for (int attempt = 0;; ++attempt) {
      // A kill may come before there is anything to resume.
      const bool begun = fs::exists(folder / "work" / "run.db");
      const Ended end =
          finish(start(folder, begun ? resume : run), attempt < kills ? instant(*random) : 1e9);
      if (end.killed) continue;
      ASSERT_EQ(end.code, 0) << read(folder / "log.txt");
      return;
    }
  }

  void expect_equal_bytes_after_kills(int runs, int kills_a_run) {
    const fs::path calm = fresh_folder("calm");
    const Ended end = finish(start(calm, {"run", (root_ / "pipeline.toml").string()}), 1e9);
    ASSERT_EQ(end.code, 0) << read(calm / "log.txt");
    const auto packed = read_folder(calm / "packed"), dense = read_folder(calm / "dense");
    ASSERT_GE(packed.size(), 2u);
    std::mt19937 random(20240229);
    for (int i = 0; i < runs; ++i) {
      SCOPED_TRACE("disturbed run " + std::to_string(i));
      const fs::path folder = fresh_folder("disturbed");
      ASSERT_NO_FATAL_FAILURE(disturb(folder, end.seconds, kills_a_run, &random));
      EXPECT_TRUE(read_folder(folder / "packed") == packed) << read(folder / "log.txt");
      EXPECT_TRUE(read_folder(folder / "dense") == dense) << read(folder / "log.txt");
      EXPECT_TRUE(fs::exists(folder / "work" / "result.json"));
      fs::remove_all(folder);
    }
  }

  int runs(int few) const {
    const std::string asked = environment("SWAGE_FAULT_RUNS");
    return asked.empty() ? few : std::stoi(asked);
  }

  fs::path root_;
};

}  // namespace swage::faults
