// What is printed, and for whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/base/exit_codes.h"
#include "core/base/plain_output.h"
#include "core/base/say_error.h"
#include "core/base/shell_quoted.h"

namespace swage {
namespace {

using testing::HasSubstr;

TEST(PlainText, KeepsNamesWhereTheLocaleHasThem) {
  EXPECT_EQ(plain_text("a … b → 3×4 ≤ ü", true), "a ... b -> 3x4 <= ü");
  EXPECT_EQ(plain_text("a … ü", false), "a ... \\xc3\\xbc");
  EXPECT_EQ(plain_text("", false), "");
}

TEST(ShellQuoted, GivesAShellTheSameWord) {
  for (const std::string word : {"runs/pipeline", "a b", "it's", "$HOME", "~", "", "a;b", "(x)",
                                 "new\nline", "*", "-x", "\xc3\xbc"}) {
    const std::string quoted = shell_quoted(word);
    FILE* pipe = popen(("printf %s " + quoted).c_str(), "r");
    std::string out;
    for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    pclose(pipe);
    EXPECT_EQ(out, word) << quoted;
  }
  EXPECT_EQ(shell_quoted("runs/pipeline-1.0"), "runs/pipeline-1.0");
}

TEST(Problems, AreValuesWithTheirPlaces) {
  const Value report = problems_value(
      with_exit_code(absl::InvalidArgumentError("a/p.toml:3:14: no: 1:2: good\np.toml: nothing\n"
                                                "model: 12: not read"),
                     ExitCode::kPipeline),
      "p.toml");
  EXPECT_EQ(to_json(report, -1),
            R"({"exit_code":3,"ok":false,"problems":[)"
            R"({"column":14,"file":"a/p.toml","line":3,"message":"no: 1:2: good"},)"
            R"({"column":null,"file":"p.toml","line":null,"message":"nothing"},)"
            R"({"column":null,"file":null,"line":null,"message":"model: 12: not read"}]})");
}

TEST(ExitMeanings, StandInTheDocumentation) {
  const char* source = std::getenv("SWAGE_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  std::ifstream file(std::string(source) + "/docs/cli.md");
  const std::string docs{std::istreambuf_iterator<char>(file), {}};
  for (const ExitMeaning& meaning : exit_meanings())
    EXPECT_THAT(docs, HasSubstr("\n| " + std::to_string(static_cast<int>(meaning.code)) + " | " +
                                meaning.text + " |\n"));
}

}  // namespace
}  // namespace swage
