// What only shows when a plugin is opened and called.
#include <ATen/ops/empty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "core/load/crash_handler.h"
#include "core/load/probe.h"
#include "swage/border.h"
#include "tests/abi/support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Loader, MakesAComponentWithItsParameters) {
  const auto made = make("abi_pair", "good", Params(Value::Table{{"tokens", 42}}));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->needs().sample_tokens(), 42);
}

TEST(Loader, FindsComponentsOfEverySourceFile) {
  const Catalog catalog = Catalog::scan({folder("abi_pair")});
  const auto made = Loader(catalog).evaluator("second", Params());
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->report()->compressed.at("second"), 2.0);
  EXPECT_FALSE(Loader(catalog).exporter("second", Params()).ok()) << "of another kind";
}

TEST(Loader, RefusesAFileWithoutTheEntry) {
  EXPECT_EQ(
      refusal("abi_raw_NoSymbol", "raw"),
      file("abi_raw_NoSymbol") +
          ": cannot be opened: it has no symbol swage_plugin_v1; build it with swage_add_plugin()");
}

TEST(Loader, RefusesANullDescriptor) {
  EXPECT_THAT(
      refusal("abi_raw_Null", "raw"),
      EndsWith(
          "refuses this host (null descriptor), which speaks ABI 1.1; build the plugin again with "
          "this host's SDK"));
}

TEST(Loader, RefusesAnotherHandshake) {
  EXPECT_THAT(
      refusal("abi_raw_Minor", "raw"),
      EndsWith("speaks ABI 1.2, this host 1.1; update swage, or build the plugin again with "
               "this host's SDK"));
  EXPECT_THAT(
      refusal("abi_raw_OlderMinor", "raw"),
      EndsWith("speaks ABI 1.0, this host 1.1; build the plugin again with this host's SDK"));
  EXPECT_THAT(refusal("abi_raw_Major", "raw"),
              EndsWith("speaks ABI 2, this host 1; build the plugin again with this host's SDK"));
}

TEST(Loader, RefusesCodeThatDisagreesWithTheManifest) {
  const std::string text = ": disagrees with its own manifest: ";
  EXPECT_EQ(refusal("abi_raw_Id", "raw"),
            file("abi_raw_Id") + text +
                "the id is \"raw\" in the manifest and \"other\" in the code; build it again");
  EXPECT_THAT(
      refusal("abi_raw_Version", "raw"),
      HasSubstr(text + "the version is \"1.0.0\" in the manifest and \"2.0.0\" in the code"));
  EXPECT_THAT(refusal("abi_raw_Fingerprint", "raw"),
              HasSubstr(text + "the fingerprint is \"swage=1.1;arch"));
  EXPECT_THAT(
      refusal("abi_other_name", "gone"),
      HasSubstr(text +
                "a component is \"algorithm gone (algorithm/2)\" in the manifest and \"nothing of "
                "that kind, name and interface\" in the code"));
  EXPECT_THAT(refusal("abi_no_component", "good"),
              HasSubstr(text + "a component is \"algorithm good"));
}

TEST(Loader, RefusesIncompleteComponents) {
  EXPECT_THAT(refusal("abi_raw_NoCreate", "raw"),
              EndsWith("component 0 is incomplete, a bug of the plugin"));
  EXPECT_EQ(
      refusal("abi_raw_MakesNothing", "raw"),
      "raw: create: made nothing and reported no error, a bug of the plugin (plugin raw 1.0.0, " +
          file("abi_raw_MakesNothing") + ")");
  EXPECT_EQ(refusal("abi_raw_NoMessage", "raw"),
            "raw: create: failed without a message, a bug of the plugin (plugin raw 1.0.0, " +
                file("abi_raw_NoMessage") + ")");
}

TEST(Loader, NamesAMissingSymbol) {
  EXPECT_THAT(refusal("abi_undefined", "good"),
              AllOf(StartsWith(file("abi_undefined") + ": cannot be opened: "),
                    HasSubstr("undefined symbol"), HasSubstr("defined_nowhere")));
}

TEST(Loader, SurvivesAStaticInitialiserThatThrows) {
  EXPECT_THAT(refusal("abi_throws_at_load", "good"),
              AllOf(StartsWith(file("abi_throws_at_load") +
                               ": is refused: opening it ends the process by signal 6 "),
                    HasSubstr("thrown by a static initialiser")));
}

TEST(Loader, SurvivesAStaticInitialiserThatCrashes) {
  // A sanitizer turns the signal into an exit of its own.
  EXPECT_THAT(refusal("abi_crashes_at_load", "good"),
              StartsWith(file("abi_crashes_at_load") + (ABI_HOST_SANITIZED
                                                            ? ": cannot be opened: "
                                                            : ": is refused: opening it ends the "
                                                              "process by signal 11 ")));
}

TEST(Loader, TakesNoEndOfTheProbeForItsAnswer) {
  EXPECT_EQ(refusal("abi_exits_at_load", "good"),
            file("abi_exits_at_load") + ": is refused: opening it ends the process by exit(0)");
}

TEST(Probe, GivesAwayNoDescriptorAndWaitsForNobodyElse) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);  // which a child would inherit
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(probe(entry("abi_talks_at_load")).ok());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), 30) << "a process that it leaves keeps the output open";
  close(ends[1]);
  char heard[16];
  EXPECT_EQ(read(ends[0], heard, sizeof heard), 0) << "nothing was written, and nobody holds it";
  close(ends[0]);
}

TEST(Loader, ReportsWhatAConstructorThrows) {
  auto message = [](const std::string& phase) {
    return std::string(make("abi_thrower", "thrower", where(phase)).status().message());
  };
  EXPECT_EQ(message("create"),
            "thrower: create: exception: cannot be made (plugin abi_thrower 1.0.0, " +
                file("abi_thrower") + ")");
  EXPECT_EQ(message("memory"), "thrower: create: out of memory");
  EXPECT_THAT(message("param"), StartsWith("thrower: create: exception: "));
  EXPECT_THAT(message("param"), HasSubstr("missing"));
  EXPECT_EQ(exit_code(make("abi_thrower", "thrower", where("create")).status()), 5);
}

class NoSubset : public SubsetContext {
 public:
  Block& block() override { throw std::logic_error("unused"); }
  Target target(const Linear&) const override { return {}; }
  std::shared_ptr<const Codec> activation_codec(const Linear&) const override { return nullptr; }
  void note(std::string_view) override {}
  uint64_t random(uint64_t) const override { return 0; }
  absl::Status emit(Linear&, Result) override { return absl::OkStatus(); }
  absl::Status fold(const at::Tensor&) override { return absl::OkStatus(); }
  Subset& subset() override { throw std::logic_error("unused"); }
  const std::vector<Linear*>& linears() override { return linears_; }
  const SubsetStats& stats() override { return stats_; }
  at::Tensor inspect(const Slots&) override { return {}; }

 private:
  std::vector<Linear*> linears_;
  SubsetStats stats_;
};

absl::Status transform(const std::string& how) {
  const auto made = make("abi_thrower", "thrower", where(how));
  if (!made.ok()) return made.status();
  NoSubset subset;
  return guarded({"thrower", "subset_transform of block 3"},
                 [&] { return (*made)->subset_transform(subset); });
}

TEST(Border, TurnsWhatSubsetTransformThrowsIntoAStatus) {
  EXPECT_EQ(transform("std").message(),
            "thrower: subset_transform of block 3: exception: row 7 of 5");
  EXPECT_THAT(std::string(transform("torch").message()),
              StartsWith("thrower: subset_transform of block 3: LibTorch: shapes differ"));
  EXPECT_EQ(transform("int").message(),
            "thrower: subset_transform of block 3: an exception that is no std::exception");
  for (const char* how : {"std", "torch", "int"}) EXPECT_EQ(exit_code(transform(how)), 5) << how;
}

TEST(Border, KeepsTheCodeOfAReturnedError) {
  const absl::Status status = transform("returned");
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "thrower: subset_transform of block 3: returned, not thrown");
  EXPECT_EQ(exit_code(status), 4);
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process itself
TEST(Border, TakesMemoryThatIsMissingForNoFaultOfThePlugin) {
  const absl::Status status = guarded({"large", "create"}, [] {
    at::empty({int64_t{1} << 50}, at::kFloat);
    return absl::OkStatus();
  });
  EXPECT_THAT(std::string(status.message()), StartsWith("large: create: out of memory: "));
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kResources));
}
#endif

TEST(Border, BlamesNoPluginWhereNoneIsCalled) {
  const absl::Status status = guarded({}, []() -> absl::Status { throw std::logic_error("ours"); });
  EXPECT_EQ(status.message(), "exception: ours");
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kOther));
  EXPECT_EQ(exit_code(guarded({}, [] { return transform("std"); })), 5);
}

TEST(BorderDeathTest, NamesThePluginThatCrashes) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        install_crash_handler();
        transform("segv").IgnoreError();
      },
      testing::ExitedWithCode(static_cast<int>(ExitCode::kPlugin)),
      "error: thrower: subset_transform of block 3: ends the process by signal 11 .*; finished "
      "blocks are kept");
}

TEST(Border, LeavesNoCrumbBehind) {
  EXPECT_TRUE(guarded({"outer", "phase"}, [] {
                EXPECT_STREQ(breadcrumb(), "outer: phase");
                const auto inner = guarded({"inner", ""}, [] {
                  EXPECT_STREQ(breadcrumb(), "inner");
                  return absl::OkStatus();
                });
                EXPECT_STREQ(breadcrumb(), "outer: phase");
                return inner;
              }).ok());
  EXPECT_STREQ(breadcrumb(), "");
}

TEST(Probe, TriesAFileOnceWhileItStaysTheSame) {
  fs::create_directories(folder("touched"));
  fs::copy_file(file("abi_good"), file("touched"), fs::copy_options::overwrite_existing);
  const PluginEntry found = entry("touched");
  auto remembered = [&] {
    std::ifstream stream(ProbeMemory::cache_ + "/swage/probed");
    int lines = 0;
    for (std::string line; std::getline(stream, line);) lines += line.find(found.file) == 0 ? 1 : 0;
    return lines;
  };
  EXPECT_TRUE(probe(found).ok());
  EXPECT_TRUE(probe(found).ok());
  EXPECT_EQ(remembered(), 1);
  fs::last_write_time(file("touched"), fs::file_time_type::clock::now());
  EXPECT_TRUE(probe(found).ok());
  EXPECT_EQ(remembered(), 2);
}

}  // namespace
}  // namespace swage
