// What schemes of a pipeline mean for the model's linears, before any work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/engine/scheme_weight.h"
#include "core/engine/width_check.h"
#include "swage/status.h"

namespace swage {
namespace {

std::shared_ptr<const Codec> codec(const std::string& format, Value::Table keys) {
  auto made = make_codec({format, std::move(keys)});
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

LinearSummary linear(const std::string& name, int64_t in, std::shared_ptr<const Codec> weight) {
  LinearSummary summary;
  summary.name = name;
  summary.out = 64;
  summary.in = in;
  summary.weight = std::move(weight);
  return summary;
}

class Widths : public testing::Test {
 protected:
  Widths() {
    pipeline_.steps.emplace_back();
    pipeline_.steps[0].name = "round";
    pipeline_.steps[0].takes_weight = true;
    pipeline_.steps[0].where = {"./p.toml", 5, 1};
  }
  std::string problems(const std::shared_ptr<const Codec>& weight, int64_t up, int64_t down) {
    std::vector<LinearSummary> planned;
    for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
      planned.push_back(linear(std::string(layer) + "up", up, weight));
      planned.push_back(linear(std::string(layer) + "down", down, weight));
    }
    LinearSummary kept = linear("router", 7, nullptr);
    kept.kept_by = "a rule";
    planned.push_back(kept);
    return std::string(check_widths(pipeline_, planned).message());
  }
  Pipeline pipeline_;
};

TEST_F(Widths, NameTheGroupsThatWouldDo) {
  EXPECT_EQ(problems(codec("int", {{"group", 64}, {"group_tail", "error"}}), 48, 96),
            "./p.toml:5:1: step \"round\": group = 64 does not divide the input width 48 of 2 "
            "linears (model.layers.0.up, model.layers.1.up); group = 16 would do, or group_tail = "
            "\"short\" allows a shorter last group\n"
            "./p.toml:5:1: step \"round\": group = 64 does not divide the input width 96 of 2 "
            "linears (model.layers.0.down, model.layers.1.down); group = 16 would do, or "
            "group_tail = \"short\" allows a shorter last group");
}

TEST_F(Widths, AreTakenWhereGroupsDivideOrMayBeShort) {
  EXPECT_EQ(problems(codec("int", {{"group", 16}}), 48, 96), "");
  EXPECT_EQ(problems(codec("int", {{"group", 64}, {"group_tail", "short"}}), 48, 96), "");
  EXPECT_EQ(problems(codec("int", {{"granularity", "channel"}}), 48, 97), "");
}

TEST_F(Widths, AdviseOnlyWhatTheFormatHas) {
  EXPECT_THAT(problems(codec("fp8-e4m3", {{"granularity", "group"}, {"group", 64}}), 48, 96),
              testing::AllOf(testing::HasSubstr("group = 16 would do"),
                             testing::Not(testing::HasSubstr("group_tail"))));
}

TEST_F(Widths, SayHowManyColumnsAFormatStoresTogether) {
  EXPECT_EQ(problems(codec("mxfp4", {}), 48, 96),
            "./p.toml:5:1: step \"round\": format = \"mxfp4\" stores 32 columns together, which "
            "does not divide the input width 48 of 2 linears (model.layers.0.up, "
            "model.layers.1.up); give these linears another format by an override");
}

ModelSummary two_layers(int64_t down) {
  ModelSummary model;
  model.kept_bytes = 1000;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) model.linears.push_back({"up", 256, 192, io::StoredType::kBF16});
    model.linears.push_back({"down", 192, down, io::StoredType::kBF16});
  }
  return model;
}

TEST(SchemeWeights, AreThoseOfCommonSchemes) {
  const ModelSummary model = two_layers(256);
  const auto weights = weigh_common_schemes(model);
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(weights->size(), 4u);
  EXPECT_EQ((*weights)[0].codec->describe(), "w4 g128 symmetric");
  EXPECT_EQ((*weights)[0].uneven, 192);
  EXPECT_EQ((*weights)[1].codec->describe(), "w4 g64 symmetric");
  EXPECT_EQ((*weights)[1].uneven, 0);
  EXPECT_DOUBLE_EQ((*weights)[1].bits_per_weight, 4.25);  // a 16-bit scale for 64 codes
  const int64_t elements = 2 * (4 * 256 * 192 + 192 * 256);
  EXPECT_EQ((*weights)[1].bytes, model.kept_bytes + elements * 17 / 4 / 8);
  EXPECT_EQ((*weights)[2].codec->describe(), "w8 per channel symmetric");
  const int64_t rows = 2 * (4 * 256 + 192);
  EXPECT_EQ((*weights)[2].bytes, model.kept_bytes + elements + rows * 2);
  EXPECT_EQ((*weights)[3].codec->describe(), "fp8-e4m3 per channel");
  EXPECT_EQ((*weights)[3].bytes, (*weights)[2].bytes);
}

TEST(SchemeWeights, ProposeTheLargestGroupThatDivides) {
  const auto even = weigh_common_schemes(two_layers(96));
  ASSERT_TRUE(even.ok());
  EXPECT_EQ((*even)[1].codec->describe(), "w4 g96 symmetric");
  const auto odd = weigh_common_schemes(two_layers(7));
  ASSERT_TRUE(odd.ok());
  EXPECT_EQ(odd->size(), 3u);
}

}  // namespace
}  // namespace swage
