#include "core/catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "swage/host_fingerprint.h"
#include "tests/unit/elf_writer.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using namespace testing_support;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string manifest(const std::string& id, const std::string& kind, const std::string& name,
                     const std::string& more = "") {
  return "id = \"" + id + "\"\nversion = \"1.0\"\nsummary = \"S.\"\n[[component]]\nkind = \"" +
         kind + "\"\nname = \"" + name + "\"\ninterface = \"" + interface_of(kind) +
         "\"\nsummary = \"S.\"\n" + more;
}

class CatalogFolder : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        fs::path(testing::TempDir()) /
        (std::string("catalog.") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_ / "a");
    fs::create_directories(root_ / "b");
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(root_ / name, std::ios::binary) << content;
    return (root_ / name).string();
  }
  std::string plugin(const std::string& name, const std::string& text,
                     const std::string& fingerprint = host_fingerprint()) {
    return write(name + ".swage.so", elf_with({build_id_note(name), fingerprint_note(fingerprint),
                                               manifest_note(text)}));
  }
  Catalog scan() { return Catalog::scan({root_ / "a", root_ / "b"}); }
  // Without the formats that are built in.
  static std::vector<PluginEntry> files(const Catalog& catalog) {
    const std::vector<PluginEntry>& all = catalog.plugins();
    return {all.begin() + 1, all.end()};
  }

  fs::path root_;
};

TEST_F(CatalogFolder, ListsPluginsInTheOrderOfTheSearchPath) {
  const std::string b = plugin("b/first", manifest("b", "algorithm", "second"));
  const std::string z = plugin("a/z", manifest("z", "algorithm", "third"));
  const std::string a = plugin("a/a", manifest("a", "evaluator", "first"));
  write("a/README.txt", "no plugin and not meant to be one");
  const Catalog catalog = scan();
  const std::vector<PluginEntry> plugins = files(catalog);
  ASSERT_EQ(plugins.size(), 3u);
  EXPECT_EQ(plugins[0].file, a);
  EXPECT_EQ(plugins[1].file, z);
  EXPECT_EQ(plugins[2].file, b);
  for (const PluginEntry& entry : catalog.plugins()) {
    EXPECT_EQ(entry.state, PluginState::kCompatible) << entry.reason;
  }
  EXPECT_EQ(catalog.find("algorithm", "third")->plugin->file, z);
}

TEST_F(CatalogFolder, KeepsTheReasonOfEveryRefusal) {
  write("a/1.swage.so", "plain text");
  write("a/2.swage.so", elf_with({build_id_note("x")}));
  write("a/3.swage.so", elf_with({fingerprint_note(host_fingerprint())}).substr(0, 200));
  plugin("a/4", "id = 3");
  plugin("a/5", manifest("n", "algorithm", "new",
                         "[[component]]\nkind = \"algorithm\"\nname = "
                         "\"newer\"\ninterface = \"algorithm/3\"\nsummary = \"S.\"\n"));
  const std::vector<PluginEntry> plugins = files(scan());
  ASSERT_EQ(plugins.size(), 5u);
  EXPECT_EQ(plugins[0].state, PluginState::kNotAPlugin);
  EXPECT_EQ(plugins[0].reason, "no ELF file");
  EXPECT_EQ(plugins[1].state, PluginState::kNotAPlugin);
  EXPECT_THAT(plugins[1].reason, HasSubstr("without notes of swage"));
  EXPECT_EQ(plugins[2].state, PluginState::kRefused);
  EXPECT_THAT(plugins[2].reason, StartsWith("truncated: the file has 200 bytes"));
  EXPECT_EQ(plugins[3].state, PluginState::kRefused);
  EXPECT_THAT(plugins[3].reason, HasSubstr("4.swage.so[manifest]:1:1: \"id\": found integer"));
  EXPECT_EQ(plugins[4].state, PluginState::kRefused);
  EXPECT_THAT(plugins[4].reason, StartsWith("algorithm \"newer\" has interface algorithm/3, this "
                                            "host knows algorithm/2; build the plugin again"));
}

TEST_F(CatalogFolder, GivesTheFirstOfTwoEqualIdsOrNamesTheRight) {
  const std::string first = plugin("a/x", manifest("same", "algorithm", "one"));
  plugin("b/x", manifest("same", "algorithm", "two"));
  plugin("b/y", manifest("other", "algorithm", "one"));
  fs::copy_file(first, root_ / "b/z.swage.so");
  const Catalog catalog = scan();
  const std::vector<PluginEntry> plugins = files(catalog);
  ASSERT_EQ(plugins.size(), 4u);
  EXPECT_EQ(plugins[1].reason, "repeats the plugin id \"same\" of " + first +
                                   " (version 1.0), which comes first; remove one of them");
  EXPECT_EQ(plugins[2].reason, "repeats the algorithm \"one\" of " + first +
                                   ", which comes first; give it another name");
  EXPECT_EQ(plugins[3].reason, "a copy of " + first + ", which is used");
  EXPECT_EQ(catalog.find("algorithm", "one")->plugin->file, first);
}

TEST_F(CatalogFolder, TakesOneFileOnceWhateverItsNames) {
  const std::string file = plugin("a/x", manifest("x", "algorithm", "x"));
  fs::create_symlink(file, root_ / "b/link.swage.so");
  EXPECT_EQ(files(Catalog::scan({root_ / "a", root_ / "a", root_ / "b"})).size(), 1u);
}

TEST_F(CatalogFolder, NamesNearestComponentAndPlacesOfAMiss) {
  plugin("a/x", manifest("x", "algorithm", "gptq"));
  const Catalog catalog = scan();
  EXPECT_EQ(std::string(catalog.find("algorithm", "gtpq").status().message()),
            "no algorithm \"gtpq\" in " + (root_ / "a").string() + ", " + (root_ / "b").string() +
                "; did you mean \"gptq\"?");
  EXPECT_FALSE(catalog.find("evaluator", "gptq").ok()) << "kinds have names of their own";
}

TEST_F(CatalogFolder, NamesTheRefusedFileThatHoldsTheComponent) {
  const std::string file =
      plugin("a/x", manifest("x", "algorithm", "gptq"), "swage=1.0;arch=x86_64;torch=1.13.0");
  EXPECT_THAT(std::string(scan().find("algorithm", "gptq").status().message()),
              AllOf(HasSubstr(file + " holds it but is refused: "),
                    HasSubstr("torch (LibTorch): the plugin was built with 1.13.0")));
}

TEST_F(CatalogFolder, FindsModelsByArchitectureBeforeModelType) {
  plugin("a/x", manifest("x", "model", "typed", "model_types = [\"small\"]\n"));
  plugin("a/y", manifest("y", "model", "named", "architectures = [\"SmallForCausalLM\"]\n"));
  const Catalog catalog = scan();
  auto config = [](const char* architecture, const char* type) {
    return Value(Value::Table{{"architectures", Value::List{architecture}}, {"model_type", type}});
  };
  EXPECT_EQ(catalog.find_model(config("SmallForCausalLM", "small"))->component->name, "named");
  EXPECT_EQ(catalog.find_model(config("Unknown", "small"))->component->name, "typed");
  EXPECT_THAT(
      std::string(catalog.find_model(config("Unknown", "odd")).status().message()),
      StartsWith("no model adapter serves config.json with architectures Unknown and model_type "
                 "odd; installed adapters serve SmallForCausalLM; `swage help architectures` lists "
                 "all, docs/add-a-model.md adds one; looked in "));
  EXPECT_THAT(std::string(catalog.find_model(Value(3)).status().message()),
              HasSubstr("architectures nothing and model_type nothing"));
}

TEST_F(CatalogFolder, LeavesTheChoiceBetweenAdaptersOfOneArchitectureToThePipeline) {
  const std::string serves = "architectures = [\"SmallForCausalLM\"]\n";
  const std::string one = plugin("a/x", manifest("x", "model", "one", serves));
  const std::string two = plugin("b/y", manifest("y", "model", "two", serves));
  Catalog catalog = scan();
  const Value config(Value::Table{{"architectures", Value::List{"SmallForCausalLM"}}});
  EXPECT_EQ(std::string(catalog.find_adapter(config).status().message()),
            "SmallForCausalLM is served by \"one\" of " + one + " and \"two\" of " + two +
                "; [model] adapter = \"<name>\" in the pipeline file chooses one, as --adapter "
                "does for inspect and forward");
  catalog.choose_adapter("two");
  EXPECT_EQ(catalog.find_adapter(config)->component->name, "two");
  catalog.choose_adapter("tow");
  EXPECT_THAT(std::string(catalog.find_adapter(config).status().message()),
              HasSubstr("did you mean \"two\"?"));
}

TEST_F(CatalogFolder, RefusesAModelTypeOfAnotherAdapterThanTheArchitecture) {
  plugin("a/x",
         manifest("x", "model", "one", "architectures = [\"One\"]\nmodel_types = [\"one\"]\n"));
  plugin("a/y",
         manifest("y", "model", "two", "architectures = [\"Two\"]\nmodel_types = [\"two\"]\n"));
  const Catalog catalog = scan();
  auto config = [](const char* type) {
    return Value(Value::Table{{"architectures", Value::List{"One"}}, {"model_type", type}});
  };
  EXPECT_EQ(catalog.find_model(config("one"))->component->name, "one");
  EXPECT_EQ(catalog.find_model(config("foreign"))->component->name, "one");
  EXPECT_THAT(std::string(catalog.find_model(config("two")).status().message()),
              HasSubstr("architectures says One, which the adapter \"one\" serves, but model_type "
                        "is \"two\", which \"two\" serves"));
}

TEST_F(CatalogFolder, RefusesTwoReadersOfOneQuantMethod) {
  const std::string reads = "quant_method = \"packed-tensors\"\n";
  plugin("a/x", manifest("x", "exporter", "one", reads));
  plugin("a/y", manifest("y", "exporter", "two", reads));
  EXPECT_THAT(std::string(scan().find_reader("packed-tensors").status().message()),
              AllOf(HasSubstr("served by \"one\" of "), HasSubstr("\"two\" of ")));
}

TEST_F(CatalogFolder, FindsTheReaderOfAQuantMethod) {
  plugin("a/x", manifest("x", "exporter", "packed", "quant_method = \"packed-tensors\"\n"));
  plugin("a/y", manifest("y", "exporter", "plain"));
  EXPECT_EQ(scan().find_reader("packed-tensors")->component->name, "packed");
  EXPECT_THAT(std::string(scan().find_reader("").status().message()),
              HasSubstr("installed ones read packed-tensors"));
}

TEST_F(CatalogFolder, IsReadInMilliseconds) {
  const std::string filler(200000, '#');
  for (int i = 0; i < 9; ++i) {
    const std::string id = "p" + std::to_string(i);
    plugin("a/" + id, manifest(id, "algorithm", id) + filler);
  }
  const auto start = std::clock();
  EXPECT_EQ(files(scan()).size(), 9u);
  EXPECT_LT(double(std::clock() - start) / CLOCKS_PER_SEC, 0.3);
}

TEST(PluginSearchPath, PutsTheCommandLineFirstAndTheInstallationLast) {
  setenv("SWAGE_PLUGIN_PATH", "/from/environment::/second", 1);
  const auto path = plugin_search_path({"/from/command"}, {"/from/pipeline"});
  unsetenv("SWAGE_PLUGIN_PATH");
  EXPECT_THAT(path, ElementsAre("/from/command", "/from/pipeline", "/from/environment", "/second",
                                HasSubstr("/lib/swage/plugins")));
}

TEST_F(CatalogFolder, RemembersFoldersThatDoNotExist) {
  const Catalog catalog = Catalog::scan({"/does/not/exist"});
  EXPECT_THAT(catalog.directories(), ElementsAre("/does/not/exist"));
  EXPECT_TRUE(files(catalog).empty());
}

TEST_F(CatalogFolder, BeginsWithTheFormatsThatAreBuiltIn) {
  const Catalog catalog = scan();
  ASSERT_EQ(catalog.plugins().size(), 1u);
  EXPECT_EQ(catalog.plugins()[0].file, "");
  EXPECT_EQ(catalog.plugins()[0].state, PluginState::kCompatible) << catalog.plugins()[0].reason;
  EXPECT_EQ(catalog.plugins()[0].manifest.id, "swage.formats");
  EXPECT_EQ(catalog.find("format", "int")->component->name, "int");
}

TEST_F(CatalogFolder, TakesFormatsOfPluginsBesideTheBuiltInOnes) {
  plugin("a/x", manifest("x", "format", "mine"));
  plugin("a/y", manifest("y", "format", "int"));
  plugin("a/z", manifest("swage.formats", "format", "other"));
  const Catalog catalog = scan();
  EXPECT_EQ(catalog.find("format", "mine")->plugin->manifest.id, "x");
  EXPECT_EQ(catalog.find("format", "int")->plugin->file, "");
  EXPECT_EQ(files(catalog)[1].reason,
            "repeats the format \"int\" of swage itself, which comes first; give it another name");
  EXPECT_THAT(files(catalog)[2].reason,
              HasSubstr("repeats the plugin id \"swage.formats\" of swage itself"));
}

}  // namespace
}  // namespace swage
