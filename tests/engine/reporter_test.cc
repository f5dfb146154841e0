#include "core/engine/reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "core/base/exit_codes.h"
#include "core/base/log.h"
#include "core/engine/progress_bar.h"

namespace swage {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

Progress at_work() {
  Progress progress;
  progress.phase = "compress";
  progress.total = 30;
  progress.done = 12;
  progress.fraction = 0.5;
  progress.what = "gptq: attention.input";
  progress.seconds_left = 62.4;
  progress.bytes = 612'000'000;
  return progress;
}

TEST(ProgressBar, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(bar_line(at_work(), 100),
            "compress  ━━━━━━──────────  12/30  gptq: attention.input  1m 03s left  612 MB");
}

TEST(ProgressBar, FitsAnyWidth) {
  for (int width = 0; width < 100; ++width)
    EXPECT_LE(columns(bar_line(at_work(), width)), width) << width;
  EXPECT_EQ(bar_line(at_work(), 70),
            "compress  ━━━━━━──────────  12/30  gptq: attenti…  1m 03s left  612 MB");
  EXPECT_EQ(bar_line(at_work(), 60), "compress  ━━━━━━──────────  12/30  1m 03s left  612 MB");
  EXPECT_EQ(bar_line(at_work(), 40), "compress  12/30  1m 03s left  612 MB");
  EXPECT_EQ(bar_line(at_work(), 12), "compress  1…");
}

TEST(ProgressBar, ShowsNoTimeThatItDoesNotKnow) {
  Progress progress = at_work();
  progress.seconds_left = -1;
  progress.what.clear();
  progress.done = 30;
  EXPECT_EQ(bar_line(progress, 80), "compress  ━━━━━━━━━━━━━━━━  30/30  612 MB");
  progress.total = progress.done = 0;
  EXPECT_EQ(bar_line(progress, 80), "compress  ────────────────  0/0  612 MB");
}

TEST(ProgressBar, CutsTextBetweenCharacters) {
  EXPECT_EQ(shortened("größe", 5), "größe");
  EXPECT_EQ(shortened("größe", 4), "grö…");
  EXPECT_EQ(shortened("größe", 3), "gr…");
  EXPECT_EQ(shortened("größe", 1), "…");
  EXPECT_EQ(shortened("größe", 0), "");
}

TEST(ProgressBar, WritesDurations) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(1.94), "1.9 s");
  EXPECT_EQ(duration_text(9.97), "10 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1m 00s");
  EXPECT_EQ(duration_text(3599.4), "59m 59s");
  EXPECT_EQ(duration_text(7500), "2h 05m");
  EXPECT_EQ(duration_text(273'600), "3d 04h");
}

TEST(ProgressBar, TellsTheTimeLeftFromWhatThisProcessDid) {
  EXPECT_DOUBLE_EQ(seconds_left(10, 2.5, 7.5), 30);
  EXPECT_LT(seconds_left(10, 0, 30), 0);
  EXPECT_EQ(seconds_left(10, 5, 0), 0);
}

TEST(ProgressBar, WritesEventsAsJsonLines) {
  EXPECT_EQ(event_line(1'764'209'968'007, "stop", Value()),
            R"({"time":"2025-11-27T02:19:28.007Z","event":"stop"})");
  EXPECT_EQ(event_line(0, "a\n\"b\"", Value::Table{{"x", 0.1}, {"event", 1}, {"a", Value::List{}}}),
            R"({"time":"1970-01-01T00:00:00.000Z","event":"a\n\"b\"","a":[],"x":0.1})");
  EXPECT_THAT(event_line(0, "e", Value::Table{{"x", std::numeric_limits<double>::quiet_NaN()}}),
              HasSubstr("\"x\":null"));
}

TEST(ProgressBar, WritesFiguresForPeople) {
  EXPECT_EQ(figures_text(Value::Table{{"error", 0.0123456},
                                      {"bits", 4},
                                      {"ok", true},
                                      {"how", "well"},
                                      {"more", Value::List{1}}}),
            "bits 4, error 0.01235, how well, ok true");
  EXPECT_EQ(figures_text(Value()), "");
}

class ReporterTest : public testing::Test {
 protected:
  void SetUp() override {
    file_ = testing::TempDir() + "/events.jsonl";
    std::filesystem::remove(file_);
  }
  void TearDown() override {
    set_log_level(LogLevel::kInfo);
    std::filesystem::remove(file_);
  }

  // A run of two units, the first of which was done before. What stderr got of it.
  std::string run(bool quiet) {
    testing::internal::CaptureStderr();
    auto made = Reporter::create({file_, quiet});
    EXPECT_TRUE(made.ok()) << made.status();
    Reporter& reporter = **made;
    reporter.begin_phase("compress", 2, 1);
    reporter.at("gptq: mlp.input", 0.5);
    reporter.note("something to know");
    reporter.warning("something to mind");
    reporter.unit_done("block 1", Value::Table{{"seconds", 1.94}, {"error", 0.25}});
    reporter.end_phase();
    reporter.event("done", Value());
    reporter.finish();
    return testing::internal::GetCapturedStderr();
  }

  std::vector<Value> events() const {
    std::vector<Value> all;
    std::ifstream stream(file_);
    for (std::string line; std::getline(stream, line);) {
      const auto value = parse_json(line, file_);
      EXPECT_TRUE(value.ok()) << value.status();
      EXPECT_THAT(line, MatchesRegex("\\{\"time\":\"....-..-..T..:..:......Z\",\"event\":.*\\}"));
      if (value.ok()) all.push_back(*value);
    }
    return all;
  }

  std::string file_;
};

TEST_F(ReporterTest, LogsALineAUnitWhereThereIsNoTerminal) {
  EXPECT_THAT(run(false), MatchesRegex(".* something to know\n"
                                       ".* warning: something to mind\n"
                                       ".* compress 2 of 2: block 1, 1.9 s, error 0.25\n"
                                       ".* compress: 2 of 2 in .*\n"));
}

TEST_F(ReporterTest, KeepsToWarningsWhenItShallBeQuiet) {
  EXPECT_THAT(run(true), MatchesRegex("[^\n]* warning: something to mind\n"));
  EXPECT_EQ(events().size(), 6u);
}

TEST_F(ReporterTest, PrintsResultsUnlessItShallBeQuiet) {
  for (const bool quiet : {false, true}) {
    testing::internal::CaptureStdout();
    const auto made = Reporter::create({"", quiet});
    (*made)->print("a table\n");
    EXPECT_EQ(testing::internal::GetCapturedStdout(), quiet ? "" : "a table\n");
  }
}

TEST_F(ReporterTest, AddsEventsToTheFile) {
  run(false);
  run(false);
  const std::vector<Value> all = events();
  ASSERT_EQ(all.size(), 12u);
  EXPECT_EQ(all[0].str("event", ""), "phase_begin");
  EXPECT_EQ(all[1].str("text", ""), "something to know");
  EXPECT_EQ(all[2].str("event", ""), "warning");
  const Value& unit = all[3];
  EXPECT_EQ(unit.str("phase", ""), "compress");
  EXPECT_EQ(unit.str("what", ""), "block 1");
  EXPECT_EQ(unit.i64("done", 0), 2);
  EXPECT_EQ(unit.f64("error", 0), 0.25);
  EXPECT_EQ(unit.f64("seconds", 0), 1.94);
  EXPECT_EQ(all[4].str("event", ""), "phase_end");
  EXPECT_EQ(all[11].str("event", ""), "done");
}

TEST_F(ReporterTest, RefusesAFileThatCannotBeWritten) {
  const auto made = Reporter::create({testing::TempDir() + "/nowhere/events.jsonl", false});
  EXPECT_EQ(exit_code(made.status()), static_cast<int>(ExitCode::kUsage));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("No such file or directory"));
}

TEST_F(ReporterTest, GoesOnWithoutEventsOnceTheDiskIsFull) {
  testing::internal::CaptureStderr();
  auto made = Reporter::create({"/dev/full", false});
  ASSERT_TRUE(made.ok()) << made.status();
  (*made)->event("one", Value());
  (*made)->event("two", Value());
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("[^\n]*/dev/full: events cannot be written \\(No space left on device\\)"
                           "[^\n]*\n"));
}

}  // namespace
}  // namespace swage
