// Files of engine profiles, and the keys of [[export]] that name them.
#include "core/serve/engine_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/config/pipeline.h"
#include "core/config/schema.h"
#include "core/serve/check_served.h"
#include "core/serve/engine_search.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kSmall[] =
    "engine = \"Small 1\"\nsummary = \"A small one.\"\n"
    "[[export]]\nuse = \"writer\"\n[[export.accept]]\nweight = { format = \"int\", bits = [4, 8] "
    "}\n";

std::string message(const std::string& toml) {
  const Formats formats(Catalog::scan({}));
  const auto profile = parse_engine_profile(toml, "small", "small.engine.toml", &formats);
  return profile.ok() ? "" : std::string(profile.status().message());
}

TEST(EngineProfile, SaysWhereItIsWrong) {
  const std::string small = kSmall;
  EXPECT_EQ(message(small), "");
  EXPECT_THAT(message("summary = \"x\"\n"), HasSubstr("\"engine\": is missing"));
  EXPECT_THAT(message("engine = \"x\"\nsummary = \"x\"\n"), HasSubstr("there is no [[export]]"));
  EXPECT_THAT(message(small + "bitz = 4\n"), HasSubstr("small.engine.toml:7:1"));
  EXPECT_THAT(message(small + "[tensor_paralel]\n"), HasSubstr("did you mean \"tensor_parallel\""));
  EXPECT_THAT(message(small + "places = \"attic\"\n"), HasSubstr("expected linear, expert"));
  EXPECT_THAT(message(small + "device = \"sm90-sm80\"\n"), HasSubstr("no range of devices"));
  EXPECT_THAT(message(small + "scales = \"fp8\"\n"), HasSubstr("expected fp16, bf16 or fp32"));
  EXPECT_THAT(message(small + "in_multiple = 0\n"), HasSubstr("at least 1"));
  EXPECT_THAT(message(small + "[[export]]\nuse = \"writer\"\nfloats = true\n"),
              HasSubstr("a second export \"writer\""));
  EXPECT_THAT(message(small + "[[export]]\nuse = \"other\"\n"),
              HasSubstr("floats = true or refused"));
  EXPECT_THAT(message(small + "[[export]]\nuse = \"other\"\nfloats = true\nrefused = \"no\"\n"),
              HasSubstr("floats = true or refused"));
  EXPECT_THAT(
      message(small + "[[export]]\nuse = \"other\"\nfloats = true\ntransforms = \"some\"\n"),
      HasSubstr("expected no, one device or yes"));
}

// A slip of the pen in a condition would be a condition that everything meets.
TEST(EngineProfile, KnowsTheKeysOfFormats) {
  const std::string head =
      "engine = \"x\"\nsummary = \"x\"\n[[export]]\nuse = \"w\"\n[[export.accept]]\n";
  EXPECT_THAT(message(head + "weight = { format = \"int\", bitts = 4 }\n"),
              HasSubstr("did you mean \"bits\""));
  EXPECT_THAT(message(head + "weight = { format = \"int\", bits = 9 }\n"),
              HasSubstr("cannot be 9"));
  EXPECT_THAT(message(head + "weight = { format = \"int\", granularity = [\"grop\"] }\n"),
              HasSubstr("cannot be \"grop\""));
  EXPECT_THAT(message(head + "weight = { bits = 4 }\n"), HasSubstr("says no format"));
  EXPECT_THAT(
      message(head + "weight = { format = \"int\" }\nactivation = { format = \"int\", share = "
                     "\"none\" }\n"),
      HasSubstr("\"share\" is no key"));
  EXPECT_EQ(message(head + "weight = { format = \"of-a-plugin\", colour = \"red\" }\n"), "");
}

class EngineFiles : public testing_support::FolderTest {};

TEST_F(EngineFiles, AreFoundInFoldersInOrder) {
  std::filesystem::create_directories(folder_ / "one");
  std::filesystem::create_directories(folder_ / "two");
  write("one/small-1.engine.toml", kSmall);
  write("two/small-1.engine.toml", "broken");
  write("two/tiny.engine.toml", "broken");
  write("two/.engine.toml", "no name");
  const std::vector<std::string> folders = {path("absent"), path("one"), path("two")};
  EXPECT_THAT(engine_names(folders), ElementsAre("small-1", "tiny"));
  const auto found = find_engine("small-1", folders, nullptr);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->file, path("one/small-1.engine.toml"));
  EXPECT_THAT(std::string(find_engine("tiny", folders, nullptr).status().message()),
              HasSubstr("two/tiny.engine.toml:1:"));
  EXPECT_THAT(std::string(find_engine("small-2", folders, nullptr).status().message()),
              HasSubstr("did you mean \"small-1\""));
}

class ServeKeys : public testing_support::FolderTest {
 protected:
  absl::StatusOr<Pipeline> load(const std::string& keys) {
    const std::string file =
        write("p.toml",
              "[model]\npath = \"model\"\n[[step]]\nuse = \"round\"\n[[export]]\nuse = "
              "\"writer\"\npath = \"" +
                  path("out") + "\"\n" + keys);
    return load_pipeline(file, {}, testing_support::small_catalog());
  }
};

TEST_F(ServeKeys, NameAnEngineAndHowItServes) {
  const auto none = load("");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->exports[0].serve.has_value());
  EXPECT_FALSE(none->effective["export"].list()->front().has("serve"));
  // The small catalog looked nowhere; profiles of the build folder are found beside the program.
  const auto served = load("serve = \"vllm-0.33\"\ntensor_parallel = 8\ndevice = \"sm90\"\n");
  ASSERT_TRUE(served.ok()) << served.status();
  ASSERT_TRUE(served->exports[0].serve.has_value());
  EXPECT_EQ(served->exports[0].serve->engine->engine, "vLLM 0.33");
  EXPECT_EQ(served->exports[0].serve->serving.tensor_parallel, 8);
  EXPECT_EQ(to_json(served->effective["export"].list()->front()["serve"], -1),
            R"({"device":"sm90","engine":"vllm-0.33","tensor_parallel":8})");
  EXPECT_THAT(std::string(load("serve = \"vllm-9\"\n").status().message()),
              HasSubstr("p.toml:8:9: \"serve\": there is no engine profile \"vllm-9\""));
  for (const char* key : {"tensor_parallel = 2\n", "device = \"sm90\"\n"})
    EXPECT_THAT(std::string(load(key).status().message()), HasSubstr("name the engine too"));
  EXPECT_THAT(std::string(load("serve = \"x\"\ntensor_parallel = 0\n").status().message()),
              HasSubstr("\"tensor_parallel\""));
}

TEST_F(ServeKeys, AreOfferedByTheSchema) {
  const Value schema = pipeline_schema(testing_support::small_catalog());
  const Value& writer = schema["properties"]["export"]["items"]["allOf"].list()->front()["then"];
  const Value::List* const names = writer["properties"]["serve"]["enum"].list();
  ASSERT_NE(names, nullptr);
  EXPECT_NE(std::find(names->begin(), names->end(), Value("vllm-0.33")), names->end());
  EXPECT_EQ(writer["properties"]["tensor_parallel"].i64("minimum", 0), 1);
}

}  // namespace
}  // namespace swage
