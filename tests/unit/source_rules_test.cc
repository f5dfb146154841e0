// The rules of docs/architecture.md that a compiler does not see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

namespace swage {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;

struct Include {
  std::string file, header;  // file relative to the source tree
};

class SourceRules : public testing::Test {
 protected:
  void SetUp() override {
    const char* root = std::getenv("SWAGE_SOURCE_DIR");
    ASSERT_NE(root, nullptr) << "SWAGE_SOURCE_DIR names the source tree";
    root_ = root;
  }

  std::vector<std::string> sources(const std::vector<std::string>& folders) const {
    std::vector<std::string> files;
    for (const std::string& folder : folders) {
      if (!fs::exists(root_ / folder)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root_ / folder)) {
        const std::string type = entry.path().extension().string();
        if (type == ".cc" || type == ".h")
          files.push_back(fs::relative(entry.path(), root_).string());
      }
    }
    return files;
  }

  std::vector<Include> includes(const std::vector<std::string>& folders) const {
    static const std::regex pattern("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"].*");
    std::vector<Include> all;
    for (const std::string& file : sources(folders)) {
      std::ifstream stream(root_ / file);
      std::smatch match;
      for (std::string line; std::getline(stream, line);) {
        if (std::regex_match(line, match, pattern)) all.push_back({file, match[1]});
      }
    }
    return all;
  }

  // "file includes header" for every include that `forbidden` says yes to.
  template <class Predicate>
  std::vector<std::string> offences(const std::vector<std::string>& folders,
                                    Predicate forbidden) const {
    std::vector<std::string> found;
    for (const Include& include : includes(folders)) {
      if (forbidden(include)) found.push_back(include.file + " includes " + include.header);
    }
    return found;
  }

  fs::path root_;
};

bool starts(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

bool needs_torch(const std::string& header) {
  return starts(header, "ATen/") || starts(header, "c10/") || starts(header, "torch/");
}

const std::vector<std::string> kPluginFolders = {"models", "plugins", "evaluators", "backends"};

// An adapter is read in a few minutes; its length is printed, so that growth is seen.
TEST_F(SourceRules, AdaptersAreShort) {
  int adapters = 0;
  for (const std::string& file : sources({"models"})) {
    std::ifstream stream(root_ / file);
    int lines = 0;
    for (std::string line; std::getline(stream, line);) ++lines;
    std::printf("%4d lines  %s\n", lines, file.c_str());
    EXPECT_LT(lines, 200) << file;
    ++adapters;
  }
  EXPECT_GE(adapters, 15);
}

TEST_F(SourceRules, AreCheckedOnRealFiles) {
  EXPECT_GT(sources({"core", "sdk"}).size(), 30u);
  EXPECT_GT(includes({"core", "sdk"}).size(), 100u);
}

TEST_F(SourceRules, PluginsIncludeOnlyTheSdkAndTheirOwnFolder) {
  EXPECT_THAT(offences(kPluginFolders,
                       [&](const Include& include) {
                         if (starts(include.header, "swage/")) return false;
                         const fs::path own = (root_ / include.file).parent_path();
                         if (include.header.find('/') == std::string::npos) {
                           return include.header.find(".h") != std::string::npos &&
                                  !fs::exists(own / include.header);
                         }
                         return fs::exists(root_ / include.header) ||
                                include.header.find("..") != std::string::npos;
                       }),
              IsEmpty());
}

TEST_F(SourceRules, TheSdkIncludesNothingOfTheHost) {
  EXPECT_THAT(
      offences({"sdk"}, [](const Include& include) { return starts(include.header, "core/"); }),
      IsEmpty());
}

TEST_F(SourceRules, WhatMustStartQuicklyStaysFreeOfLibTorch) {
  EXPECT_THAT(offences({"core/base", "core/config", "core/catalog", "core/cli", "sdk/src/base"},
                       [](const Include& include) { return needs_torch(include.header); }),
              IsEmpty());
}

TEST_F(SourceRules, NobodyIncludesAllOfLibTorch) {
  EXPECT_THAT(offences({"core", "sdk", "models", "plugins", "evaluators", "backends", "tests"},
                       [](const Include& include) {
                         return include.header == "torch/torch.h" ||
                                include.header == "torch/script.h" ||
                                include.header == "torch/optim.h" ||
                                include.header == "ATen/ATen.h";
                       }),
              IsEmpty());
}

TEST_F(SourceRules, TheHostNamesNoPlugin) {
  EXPECT_THAT(offences({"core"},
                       [](const Include& include) {
                         for (const std::string& folder : kPluginFolders) {
                           if (starts(include.header, folder + "/")) return true;
                         }
                         return false;
                       }),
              IsEmpty());
}

// What a linear is stands below what is done with it: products, quantizers, transforms.
TEST_F(SourceRules, ResultsAndLinearsLeanOnNothingThatWorksOnThem) {
  const std::vector<std::string> low = {"result.h", "linear.h", "codec.h", "part_check.h"};
  EXPECT_THAT(offences({"sdk/include/swage", "sdk/src"},
                       [&](const Include& include) {
                         const std::string file = fs::path(include.file).filename().string();
                         const bool mine =
                             fs::path(include.file).parent_path() == "sdk/src"
                                 ? file == "result.cc" || file == "linear.cc" ||
                                       file == "validate.cc" || file == "digest.cc"
                                 : std::find(low.begin(), low.end(), file) != low.end();
                         return mine && (starts(include.header, "swage/quant/") ||
                                         starts(include.header, "swage/transform/") ||
                                         starts(include.header, "swage/solve/") ||
                                         include.header == "swage/product.h");
                       }),
              IsEmpty());
}

// Formats are told apart by what a codec answers.
TEST_F(SourceRules, NoEnumOfNumberFormatsIsLeft) {
  static const std::regex enums(
      "\\b(NumberFormat|RangeRule|ScaleType|WeightScheme|"
      "ActivationScheme)\\b");
  std::vector<std::string> found;
  for (const std::string& file :
       sources({"core", "sdk", "models", "plugins", "evaluators", "backends"})) {
    std::ifstream stream(root_ / file);
    for (std::string line; std::getline(stream, line);)
      if (std::regex_search(line, enums)) found.push_back(file + ": " + line);
  }
  EXPECT_THAT(found, IsEmpty());
}

TEST_F(SourceRules, NoFileIsLongerThanFiveHundredLines) {
  std::vector<std::string> long_files;
  for (const std::string& file :
       sources({"core", "sdk", "models", "plugins", "evaluators", "backends", "tests"})) {
    std::ifstream stream(root_ / file);
    size_t lines = 0;
    for (std::string line; std::getline(stream, line);) ++lines;
    if (lines > 500) long_files.push_back(file + " has " + std::to_string(lines));
  }
  EXPECT_THAT(long_files, IsEmpty());
}

// Lines that are neither empty nor only comment.
size_t code_lines(const fs::path& file) {
  static const std::regex blank("\\s*(//.*)?");
  std::ifstream stream(file);
  size_t lines = 0;
  for (std::string line; std::getline(stream, line);)
    lines += std::regex_match(line, blank) ? 0 : 1;
  return lines;
}

// What the kit is worth shows in how short a plugin is.
TEST_F(SourceRules, PluginsThatTheKitServesStayShort) {
  const std::map<std::string, size_t> limits = {{"plugins/rtn", 80},
                                                {"plugins/gptq", 80},
                                                {"plugins/smoothquant", 80},
                                                {"models/llama", 150}};
  for (const auto& [folder, limit] : limits) {
    size_t lines = 0;
    for (const std::string& file : sources({folder})) lines += code_lines(root_ / file);
    EXPECT_GT(lines, 5u) << folder;
    EXPECT_LT(lines, limit) << folder;
  }
}

}  // namespace
}  // namespace swage
