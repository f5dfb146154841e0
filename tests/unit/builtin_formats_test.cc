#include "swage/builtin_formats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "core/catalog/manifest.h"
#include "swage/io/safetensors_header.h"

namespace swage {
namespace {

const Manifest& builtin() {
  static const auto* const manifest = [] {
    auto parsed = parse_manifest(builtin_formats(), "built-in formats");
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return new Manifest(*std::move(parsed));
  }();
  return *manifest;
}

const ComponentManifest& format(const std::string& name) {
  static const ComponentManifest none;
  for (const ComponentManifest& component : builtin().components) {
    if (component.name == name) return component;
  }
  ADD_FAILURE() << "no format " << name;
  return none;
}

std::vector<std::string> names(const std::string& format_name, const std::string& table) {
  std::vector<std::string> names;
  for (const ParamManifest& key : keys_in(format(format_name).params, table))
    names.push_back(key.name);
  return names;
}

// CMake joins the files: none may be forgotten, none may come from elsewhere.
TEST(BuiltinFormats, AreThoseOfTheSourceTree) {
  EXPECT_EQ(builtin().id, "swage.formats");
  size_t files = 0;
  const std::string folder = std::string(std::getenv("SWAGE_SOURCE_DIR")) + "/sdk/src/format";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string file = entry.path().string();
    if (!absl::EndsWith(file, ".format.toml")) continue;
    ++files;
    const auto text = io::read_file(file, 1 << 20);
    ASSERT_TRUE(text.ok()) << text.status();
    // One by one, so that a mistake is told with its file; the head counts as three lines.
    const auto alone =
        parse_manifest("id = \"a\"\nversion = \"1\"\nsummary = \"S.\"\n" + *text, file);
    EXPECT_TRUE(alone.ok()) << alone.status();
  }
  EXPECT_EQ(builtin().components.size(), files);
  for (const ComponentManifest& component : builtin().components) {
    EXPECT_EQ(component.kind, "format");
    EXPECT_EQ(component.interface, "format/1") << component.name;
    EXPECT_TRUE(std::filesystem::exists(folder + "/" + component.name + ".format.toml"))
        << component.name;
  }
}

TEST(BuiltinFormats, TellOfEveryKeyWhatItIsFor) {
  for (const ComponentManifest& component : builtin().components) {
    for (const ParamManifest& key : component.params) {
      EXPECT_TRUE(absl::EndsWith(key.help, ".")) << component.name << " " << key.name;
      EXPECT_TRUE(!key.default_value.is_null() || key.optional)
          << component.name << " " << key.name << ": a scheme needs no keys but those it changes";
    }
  }
}

TEST(BuiltinFormats, HoldIntegersAndFp8) {
  EXPECT_THAT(names("int", "weight"),
              testing::ElementsAre("bits", "granularity", "group", "group_scale", "group_tail",
                                   "block_rows", "block_columns", "symmetric", "zero", "range",
                                   "mse_norm", "convention", "scale_dtype", "share"));
  EXPECT_THAT(names("int", "activation"),
              testing::ElementsAre("bits", "granularity", "group", "symmetric", "dynamic",
                                   "static_range", "percentile", "headroom"));
  for (const char* fp8 : {"fp8-e4m3", "fp8-e5m2"}) {
    EXPECT_THAT(names(fp8, "weight"),
                testing::ElementsAre("granularity", "group", "block_rows", "block_columns", "range",
                                     "mse_norm", "scale_dtype", "share"));
    EXPECT_THAT(names(fp8, "activation"),
                testing::ElementsAre("granularity", "group", "dynamic", "static_range",
                                     "percentile", "headroom"));
  }
}

}  // namespace
}  // namespace swage
