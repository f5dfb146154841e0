#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/engine/run.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"
#include "tests/plugin/plugin_support.h"

namespace swage::testing_support {

namespace fs = std::filesystem;

inline std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::map<std::string, std::string> read_folder(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder)] = read_text(entry.path());
  }
  return files;
}

// The same without what tells how it came about.
inline std::map<std::string, std::string> read_result(const fs::path& folder) {
  auto files = read_folder(folder);
  for (const char* told : {"swage.json", "swage_export.json"}) files.erase(told);
  return files;
}

// Any stored number: one bit of it is another checkpoint.
inline void flip_bit(const fs::path& file, std::streamoff from_end) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-from_end, std::ios::end);
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(-from_end, std::ios::end);
  stream.put(byte);
}

// A folder with a small model (the parity model `llama` and a byte-level tokenizer) in which
// pipelines run, in this process.
class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("swage-run-" + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "model");
    for (const char* file :
         {"parity/llama/config.json", "parity/llama/model.safetensors", "bytes/tokenizer.json"})
      fs::copy(test_data() / file, root_ / "model");
    before_ = fs::current_path();
    fs::current_path(root_);
  }
  void TearDown() override {
    set_log_level(LogLevel::kInfo);  // quiet reporters lowered it
    fs::current_path(before_);
    fs::remove_all(root_);
  }

  static fs::path data(const char* name) {
    return test_data().parent_path().parent_path() / "configs" / "data" / name;
  }

  // model and calibration in front of `rest`.
  std::string pipeline(const std::string& rest) const {
    std::ostringstream text;
    text << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
         << "\nsamples = 6\nlength = 48\n"
         << rest;
    return text.str();
  }
  static std::string perplexity() {
    std::ostringstream text;
    text << "[[evaluate]]\nuse = \"perplexity\"\nsource = " << data("evaluation.txt")
         << "\nlength = 48\nwindows = 4\n";
    return text.str();
  }

  absl::Status run(const std::string& toml, const std::vector<std::string>& sets = {},
                   const std::vector<std::string>& plugin_path = {}) {
    std::ofstream("pipeline.toml") << toml;
    const RunCommand command = {"run", fs::current_path().string(), "pipeline.toml", sets,
                                plugin_path};
    SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
    SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create({"", true}));
    SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
    work_ = setup->pipeline.run.work;
    SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
    return execute(*setup, journal, *reporter);
  }

  absl::Status resume(bool verify_again = false) {
    SWAGE_ASSIGN_OR_RETURN(Journal journal, Journal::open(work_));
    SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create({"", true}));
    SWAGE_ASSIGN_OR_RETURN(const auto setup, reopen_run(journal, {}, {}));
    SWAGE_RETURN_IF_ERROR(compare_with_journal(*setup, journal));
    return verify_again ? verify_exports(*setup, journal, *reporter)
                        : execute(*setup, journal, *reporter);
  }

  absl::Status eval(const std::string& checkpoint, const std::string& toml) {
    std::ofstream("eval.toml") << toml;
    work_ = fs::absolute("eval-work").string();
    fs::remove_all(work_);
    const RunCommand command = {"eval",
                                fs::current_path().string(),
                                "eval.toml",
                                {"model.path=" + checkpoint, "run.work=eval-work"},
                                {}};
    SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
    SWAGE_ASSIGN_OR_RETURN(const auto reporter, Reporter::create({"", true}));
    SWAGE_ASSIGN_OR_RETURN(const auto setup, set_up_run(std::move(loaded)));
    SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(*setup, command));
    return execute(*setup, journal, *reporter);
  }

  Value result() const {
    return must(parse_json(read_text(fs::path(work_) / "result.json"), "result.json"));
  }

  fs::path root_, before_;
  std::string work_;
};

#define EXPECT_OK(status)                           \
  do {                                              \
    const absl::Status expected_ok_ = (status);     \
    EXPECT_TRUE(expected_ok_.ok()) << expected_ok_; \
  } while (false)
#define ASSERT_OK(status)                           \
  do {                                              \
    const absl::Status asserted_ok_ = (status);     \
    ASSERT_TRUE(asserted_ok_.ok()) << asserted_ok_; \
  } while (false)

}  // namespace swage::testing_support
