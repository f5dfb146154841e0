#include "core/catalog/fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swage/host_fingerprint.h"

namespace swage {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kHost[] =
    "swage=1.2;arch=x86_64;stl=libstdc++/cxx11=1/dbg=0;std=c++17;torch=2.11.0;"
    "absl=20220623/debian3/0000;san=none;cxx=gcc-12.2;cuda=13.0;layout=00c0ffee00c0ffee";

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kHost;
  return text.replace(text.find(from), from.size(), to);
}

TEST(Fingerprint, OfThisHostHasEveryField) {
  for (const char* field : {"swage=", ";arch=", ";stl=", ";std=c++17", ";torch=2.",
                            ";absl=", ";san=", ";cxx=", ";cuda=", ";layout="}) {
    EXPECT_THAT(host_fingerprint(), HasSubstr(field));
  }
  EXPECT_THAT(host_fingerprint(), Not(HasSubstr("layout=0000000000000000"))) << "it is filled in";
  EXPECT_EQ(fingerprint_difference(host_fingerprint(), host_fingerprint()), "");
}

TEST(Fingerprint, AcceptsOtherRecordedFields) {
  EXPECT_EQ(fingerprint_difference(changed("gcc-12.2", "clang-14.0"), kHost), "");
  EXPECT_EQ(fingerprint_difference(changed("cuda=13.0", "cuda=none"), kHost), "");
}

TEST(Fingerprint, NamesEveryFieldThatDiffersWithBothValues) {
  std::string plugin = changed("torch=2.11.0", "torch=2.10.1");
  plugin.replace(plugin.find("san=none"), 8, "san=asan");
  EXPECT_EQ(fingerprint_difference(plugin, kHost),
            "torch (LibTorch): the plugin was built with 2.10.1, this host with 2.11.0\n"
            "san (sanitizer): the plugin was built with asan, this host with none\n"
            "build the plugin again with this host's SDK (find_package(swage))");
}

TEST(Fingerprint, NamesBothLayoutsWhereSizesDiffer) {
  EXPECT_EQ(fingerprint_difference(changed("00c0ffee00c0ffee", "1234567812345678"), kHost),
            "layout (structs that cross the border): the plugin was built with 1234567812345678, "
            "this host with 00c0ffee00c0ffee\n"
            "build the plugin again with this host's SDK (find_package(swage))");
  std::string without = kHost;
  without.erase(without.find(";layout="));
  EXPECT_THAT(fingerprint_difference(without, kHost), HasSubstr("built with (none)"));
}

TEST(Fingerprint, TakesNoMinorVersionForAnother) {
  EXPECT_EQ(fingerprint_difference(changed("swage=1.2", "swage=1.1"), kHost),
            "swage (interfaces): the plugin was built for 1.1, this host offers 1.2\n"
            "build the plugin again with this host's SDK (find_package(swage))");
}

TEST(Fingerprint, AsksForANewerHostWhereThePluginIsNewer) {
  EXPECT_EQ(fingerprint_difference(changed("swage=1.2", "swage=1.3"), kHost),
            "swage (interfaces): the plugin was built for 1.3, this host offers 1.2\n"
            "update swage, or build the plugin again with this host's SDK");
  EXPECT_THAT(fingerprint_difference(changed("swage=1.2", "swage=2.0"), kHost),
              HasSubstr("was built for 2.0, this host offers 1.2"));
  EXPECT_THAT(fingerprint_difference(changed("swage=1.2", "swage=0.9"), kHost),
              HasSubstr("(find_package(swage))"));
}

TEST(Fingerprint, PrintsHostileTextEscaped) {
  EXPECT_THAT(fingerprint_difference(changed("torch=2.11.0", "torch=\x1b[2J"), kHost),
              HasSubstr("built with \\x1b[2J, this host"));
  EXPECT_THAT(fingerprint_difference("", kHost), HasSubstr("built for (none)"));
  EXPECT_NE(fingerprint_difference(changed("swage=1.2", "swage=1.x"), kHost), "");
}

}  // namespace
}  // namespace swage
