// What is refused by reading the file alone; no line of these plugins runs.
#include "swage/host_fingerprint.h"
#include "tests/abi/support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kBuildAgain[] = "build the plugin again with this host's SDK (find_package(swage))";

std::string refused(const std::string& name) {
  const PluginEntry found = entry(name);
  EXPECT_EQ(found.state, PluginState::kRefused);
  return found.reason;
}

TEST(PluginFile, OfThisBuildIsCompatible) {
  const PluginEntry found = entry("abi_good");
  EXPECT_EQ(found.state, PluginState::kCompatible) << found.reason;
  EXPECT_EQ(found.fingerprint, host_fingerprint());
  EXPECT_EQ(found.build_id.size(), 40u);
  EXPECT_EQ(found.manifest.id, "abi_good");
}

TEST(PluginFile, ThatIsNoPluginIsCalledSo) {
  fs::create_directories(folder("text"));
  std::ofstream(file("text")) << "plain text";
  EXPECT_EQ(entry("text").state, PluginState::kNotAPlugin);
  EXPECT_EQ(entry("text").reason, "no ELF file");
  EXPECT_EQ(entry("abi_no_notes").state, PluginState::kNotAPlugin);
  EXPECT_EQ(entry("abi_no_notes").reason,
            "a shared library without notes of swage; plugins are made by swage_add_plugin()");
}

TEST(PluginFile, ThatIsTruncatedIsRefusedAtEveryLength) {
  fs::create_directories(folder("cut"));
  const size_t whole = fs::file_size(file("abi_good"));
  for (size_t size = 64; size < whole; size += 97) {
    fs::copy_file(file("abi_good"), file("cut"), fs::copy_options::overwrite_existing);
    fs::resize_file(file("cut"), size);
    ASSERT_THAT(refused("cut"),
                StartsWith("truncated: the file has " + std::to_string(size) + " bytes"));
  }
}

TEST(PluginFile, ForAnotherLibTorchNamesBothVersions) {
  EXPECT_THAT(
      refused("abi_wrong_torch"),
      StartsWith("torch (LibTorch): the plugin was built with 2.10.0, this host with 2.11.0\n"));
  EXPECT_THAT(refused("abi_wrong_torch"), HasSubstr(kBuildAgain));
}

TEST(PluginFile, WithOrWithoutASanitizerUnlikeTheHostIsRefused) {
  const std::string theirs = ABI_HOST_SANITIZED ? "none" : "asan",
                    ours = ABI_HOST_SANITIZED ? "asan" : "none";
  EXPECT_EQ(refused("abi_wrong_sanitizer"), "san (sanitizer): the plugin was built with " + theirs +
                                                ", this host with " + ours + "\n" + kBuildAgain);
}

TEST(PluginFile, OfAnotherCxxStandardIsRefused) {
  EXPECT_EQ(
      refused("abi_wrong_std"),
      std::string("std (C++ standard): the plugin was built with c++20, this host with c++17\n") +
          kBuildAgain);
}

TEST(PluginFile, WithNewerInterfacesAsksForANewerHost) {
  EXPECT_EQ(refused("abi_newer_minor"),
            "swage (interfaces): the plugin was built for 1.7, this host offers 1.1\n"
            "update swage, or build the plugin again with this host's SDK");
  EXPECT_THAT(refused("abi_newer_major"), HasSubstr("was built for 2.0, this host offers 1.1"));
}

// C++ objects cross the border: no minor version fits another.
TEST(PluginFile, OfAnOlderMinorVersionIsRefusedByNameWithBothVersions) {
  EXPECT_THAT(
      refused("abi_frozen"),
      StartsWith("swage (interfaces): the plugin was built for 1.0, this host offers 1.1\n"));
  EXPECT_THAT(refused("abi_frozen"), HasSubstr(kBuildAgain));
  EXPECT_EQ(entry("abi_frozen").manifest.id, "frozen");
  EXPECT_THAT(std::string(make("abi_frozen", "frozen").status().message()),
              AllOf(HasSubstr("no algorithm \"frozen\""), HasSubstr(file("abi_frozen")),
                    HasSubstr("built for 1.0, this host offers 1.1")));
}

TEST(PluginFile, WithAnotherInterfaceIsToldWhichOneIsExpected) {
  for (const auto& [name, interface] :
       {std::pair("abi_older_interface", "algorithm/1"), {"abi_newer_interface", "algorithm/3"}}) {
    EXPECT_EQ(refused(name),
              std::string("algorithm \"raw\" has interface ") + interface +
                  ", this host knows algorithm/2; build the plugin again with this host's SDK, and "
                  "hold its code against the changes of that interface (docs/abi.md)");
  }
}

// Whoever forgets to raise the version is caught all the same.
TEST(PluginFile, WithStructsOfOtherSizesIsRefusedWithBothLayouts) {
  fs::create_directories(folder("layout"));
  std::ifstream whole(file("abi_good"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(whole)), std::istreambuf_iterator<char>());
  const std::string fingerprint = host_fingerprint();
  const std::string ours = fingerprint.substr(fingerprint.find(";layout=") + 8);
  ASSERT_EQ(ours.size(), 16u);
  for (size_t at = bytes.find(ours); at != std::string::npos; at = bytes.find(ours, at + 1))
    bytes.replace(at, 16, "0123456789abcdef");
  std::ofstream(file("layout"), std::ios::binary) << bytes;
  EXPECT_EQ(refused("layout"),
            "layout (structs that cross the border): the plugin was built with 0123456789abcdef, "
            "this host with " +
                ours + "\n" + kBuildAgain);
}

TEST(PluginFile, ThatRepeatsAnIdYieldsToTheFirst) {
  fs::create_directories(folder("copy"));
  fs::copy_file(file("abi_good"), file("copy"), fs::copy_options::overwrite_existing);
  const Catalog catalog = Catalog::scan({folder("abi_good"), folder("copy"), folder("abi_older")});
  ASSERT_EQ(catalog.plugins().size(), 4u) << "with the formats that are built in";
  EXPECT_EQ(catalog.plugins()[2].reason, "a copy of " + file("abi_good") + ", which is used");
  EXPECT_EQ(catalog.plugins()[3].reason, "repeats the algorithm \"good\" of " + file("abi_good") +
                                             ", which comes first; give it another name");
}

// swage_add_plugin() runs this check after every link.
TEST(PluginFile, ThatExportsMoreThanItsEntryFailsTheBuild) {
  const std::string log = std::string(ABI_FOLDER) + "/check.txt";
  auto check = [&](const std::string& name) {
    const std::string script =
        std::string(std::getenv("SWAGE_SOURCE_DIR")) + "/sdk/cmake/SwageCheckPlugin.cmake";
    return std::system((std::string(ABI_CMAKE) + " -DFILE=" + file(name) + " " + ABI_CHECK +
                        " -P " + script + " > " + log + " 2>&1")
                           .c_str());
  };
  EXPECT_EQ(check("abi_good"), 0);
  EXPECT_NE(check("abi_no_notes"), 0);
  std::ifstream stream(log);
  std::string text;  // CMake breaks lines where they get long
  for (std::string word; stream >> word;) text += word + " ";
  EXPECT_THAT(text, HasSubstr("more than swage_plugin_v1"));
  EXPECT_THAT(text, HasSubstr("swage_test_leaks_out"));
}

}  // namespace
}  // namespace swage
