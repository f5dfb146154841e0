#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image_support.h"
#include "swage/image/image.h"
#include "swage/image/processor.h"

namespace swage::image {
namespace {

using test::formula;
using testing::HasSubstr;
using Maker = absl::StatusOr<std::unique_ptr<Processor>> (*)(const Value&);

const std::map<std::string, Maker> kMakers = {{"clip", clip_processor},
                                              {"qwen2_vl", qwen2_vl_processor},
                                              {"mllama", mllama_processor},
                                              {"internvl", internvl_processor}};

Inputs process(Maker maker, const std::string& config, const at::Tensor& picture) {
  auto processor = maker(*parse_json(config, "test"));
  EXPECT_TRUE(processor.ok()) << processor.status();
  auto inputs = (*processor)->process(picture);
  EXPECT_TRUE(inputs.ok()) << inputs.status();
  return *inputs;
}

std::string refusal(Maker maker, const std::string& config) {
  return std::string(maker(*parse_json(config, "test")).status().message());
}

// Ours as make_expected.py writes transformers'.
std::string described(const std::string& name, const at::Tensor& tensor) {
  if (name == "pixel_values") return test::digest(tensor);
  Value::List shape, values;
  for (const int64_t side : tensor.sizes()) shape.push_back(side);
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values.push_back(tensor.flatten()[i].item<int64_t>());
  return to_json(Value::Table{{"shape", shape}, {"values", values}}, -1);
}

TEST(Processors, GiveTheTensorsOfTransformersToTheLastBit) {
  const Value::List& cases = *test::expected_images()["processed"].list();
  EXPECT_GE(cases.size(), 70u);
  std::map<std::string, int> seen;
  for (const Value& expected : cases) {
    const std::string family = *expected["family"].text();
    ++seen[family];
    const std::string label =
        family + " " + to_json(expected["config"], -1) + " " + to_json(expected["size"], -1);
    auto processor = kMakers.at(family)(expected["config"]);
    ASSERT_TRUE(processor.ok()) << label << processor.status();
    const Value::List& size = *expected["size"].list();
    auto inputs = (*processor)->process(formula(*size[0].integer(), *size[1].integer()));
    ASSERT_TRUE(inputs.ok()) << label << inputs.status();
    const Value::Table& outputs = *expected["outputs"].table();
    EXPECT_EQ(inputs->size(), outputs.size()) << label;
    for (const auto& [name, output] : outputs) {
      ASSERT_EQ(inputs->count(name), 1u) << label << " " << name;
      EXPECT_EQ(described(name, inputs->at(name)), to_json(output, -1)) << label << " " << name;
    }
  }
  EXPECT_EQ(seen.size(), kMakers.size());
}

TEST(Processors, GiveTheSameBytesForEveryNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Inputs alone = process(internvl_processor, "{}", formula(300, 500));
  at::set_num_threads(3);
  const Inputs together = process(internvl_processor, "{}", formula(300, 500));
  at::set_num_threads(threads);
  EXPECT_TRUE(alone.at("pixel_values").equal(together.at("pixel_values")));
}

TEST(ClipProcessor, PadsToASquareOfTheMeansColourWhereTheOriginalModelSaysSo) {
  const at::Tensor picture = formula(10, 30);
  const std::string sizes =
      R"("size": 30, "crop_size": 30, "do_rescale": false, "do_normalize": false)";
  const at::Tensor pixels =
      process(clip_processor, "{\"image_aspect_ratio\": \"pad\", " + sizes + "}", picture)
          .at("pixel_values");
  const at::Tensor expected = picture.permute({2, 0, 1}).to(at::kFloat);
  EXPECT_TRUE(pixels[0].narrow(1, 10, 10).equal(expected));
  for (const int64_t row : {0, 9, 20, 29}) {
    EXPECT_EQ(pixels[0][0][row][7].item<float>(), 122.0f) << row;
    EXPECT_EQ(pixels[0][1][row][7].item<float>(), 116.0f) << row;
    EXPECT_EQ(pixels[0][2][row][7].item<float>(), 104.0f) << row;
  }
  // The port of the same model crops instead.
  EXPECT_FALSE(
      process(clip_processor, "{" + sizes + "}", picture).at("pixel_values").equal(pixels));
}

TEST(Qwen2VlProcessor, RoundsHalvesToTheEvenNumberOfCells) {
  // 42 = 1.5 cells becomes 2, 70 = 2.5 becomes 2.
  const Inputs inputs = process(qwen2_vl_processor, "{}", formula(42, 70));
  EXPECT_EQ(inputs.at("image_grid_thw")[0][1].item<int64_t>(), 4);
  EXPECT_EQ(inputs.at("image_grid_thw")[0][2].item<int64_t>(), 4);
}

TEST(Qwen2VlProcessor, OrdersPatchesByBlocksAndPixelsByChannelAndFrame) {
  const at::Tensor picture = formula(56, 84);
  const at::Tensor pixels =
      process(qwen2_vl_processor, R"({"do_rescale": false, "do_normalize": false})", picture)
          .at("pixel_values")
          .view({24, 3, 2, 14, 14});
  const auto patch = [&](int64_t row, int64_t column) {
    return picture.narrow(0, 14 * row, 14)
        .narrow(1, 14 * column, 14)
        .permute({2, 0, 1})
        .to(at::kFloat);
  };
  const std::vector<std::pair<int64_t, int64_t>> order = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}};
  for (size_t i = 0; i < order.size(); ++i) {
    const at::Tensor found = pixels[static_cast<int64_t>(i)];
    EXPECT_TRUE(found.select(1, 0).equal(patch(order[i].first, order[i].second))) << i;
    EXPECT_TRUE(found.select(1, 1).equal(found.select(1, 0))) << i;
  }
  EXPECT_TRUE(pixels[12].select(1, 0).equal(patch(2, 0)));
}

TEST(Qwen2VlProcessor, RefusesPicturesThatAreTooNarrow) {
  const auto processor = qwen2_vl_processor({});
  ASSERT_TRUE(processor.ok());
  EXPECT_THAT(std::string((*processor)->process(formula(1, 201)).status().message()),
              HasSubstr("201 x 1: one side may be 200 times the other at most"));
  EXPECT_TRUE((*processor)->process(formula(1, 200)).ok());
}

TEST(MllamaProcessor, LeavesUnusedTilesAtZeroAndPadsBeforeItNormalizes) {
  const Inputs inputs = process(mllama_processor, R"({"size": 28})", formula(28, 40));
  EXPECT_EQ(inputs.at("num_tiles").item<int64_t>(), 2);
  EXPECT_EQ(inputs.at("aspect_ratio_ids").item<int64_t>(), 2);  // one row of two
  const at::Tensor pixels = inputs.at("pixel_values");
  EXPECT_TRUE(pixels[1].select(2, 27).eq(-1).all().item<bool>());  // black: (0 - 0.5) / 0.5
  EXPECT_TRUE(pixels.narrow(0, 2, 2).eq(0).all().item<bool>());
}

TEST(InternVlProcessor, ReadsTheKeysOfTheOriginalModel) {
  const std::string plain = R"("size": 20, "image_mean": 0.5, "image_std": 0.5)";
  const at::Tensor picture = formula(40, 80);
  const auto tiles = [&](const std::string& keys) {
    return process(internvl_processor, "{" + plain + keys + "}", picture).at("pixel_values");
  };
  EXPECT_EQ(tiles("").size(0), 9);  // 2 x 4 and the thumbnail
  EXPECT_EQ(tiles(R"(, "use_thumbnail": false)").size(0), 8);
  EXPECT_EQ(tiles(R"(, "max_dynamic_patch": 2)").size(0), 3);
  EXPECT_EQ(tiles(R"(, "dynamic_image_size": false)").size(0), 1);
  EXPECT_EQ(tiles(R"(, "force_image_size": 40)").size(2), 40);
  EXPECT_TRUE(tiles("")[8].equal(tiles(R"(, "dynamic_image_size": false)")[0]));
}

TEST(Processors, NameTheKeyThatTheyCannotServe) {
  EXPECT_THAT(refusal(clip_processor, R"({"resample": 0})"),
              HasSubstr("preprocessor_config.json: resample = 0, expected 2 (bilinear) or 3"));
  EXPECT_THAT(refusal(clip_processor, R"({"size": {"longest_edge": 3}})"),
              HasSubstr("size is {\"longest_edge\":3}"));
  EXPECT_THAT(refusal(clip_processor, R"({"size": "big"})"), HasSubstr("size is \"big\""));
  EXPECT_THAT(refusal(clip_processor, R"({"size": 0})"), HasSubstr("size = 0, expected 1 to"));
  EXPECT_THAT(refusal(clip_processor, R"({"crop_size": [1, 2, 3]})"), HasSubstr("crop_size is"));
  EXPECT_THAT(refusal(clip_processor, R"({"do_resize": 1})"), HasSubstr("do_resize"));
  EXPECT_THAT(refusal(clip_processor, R"({"image_std": [1, 0, 1]})"), HasSubstr("image_std"));
  EXPECT_THAT(refusal(clip_processor, R"({"image_mean": [1, 0]})"), HasSubstr("image_mean"));
  EXPECT_THAT(refusal(clip_processor, R"({"image_aspect_ratio": "anyres"})"),
              HasSubstr("image_aspect_ratio is \"anyres\""));
  EXPECT_THAT(refusal(clip_processor, R"({"image_processor_type": "SiglipImageProcessor"})"),
              HasSubstr("\"SiglipImageProcessor\", expected CLIPImageProcessor or"));
  EXPECT_THAT(refusal(qwen2_vl_processor, R"({"size": {"shortest_edge": 5}})"),
              HasSubstr("max_pixels = 0"));
  EXPECT_THAT(refusal(qwen2_vl_processor, R"({"size": 5})"), HasSubstr("size is 5"));
  EXPECT_THAT(refusal(qwen2_vl_processor, R"({"min_pixels": 9, "max_pixels": 8})"),
              HasSubstr("max_pixels = 8, expected 9 to"));
  EXPECT_THAT(refusal(mllama_processor, R"({"do_pad": false})"), HasSubstr("do_pad = false"));
  EXPECT_THAT(refusal(mllama_processor, R"({"size": [20, 30]})"), HasSubstr("square tile"));
  EXPECT_THAT(refusal(mllama_processor, R"({"max_image_tiles": 0})"), HasSubstr("max_image_tiles"));
  EXPECT_THAT(refusal(internvl_processor, R"({"min_patches": 5, "max_patches": 4})"),
              HasSubstr("max_patches = 4, expected 5 to"));
  for (const char* name :
       {"CLIPImageProcessorFast", "CLIPImageProcessor", "LlavaImageProcessorPil"})
    EXPECT_EQ(refusal(clip_processor, absl::StrCat(R"({"image_processor_type": ")", name, "\"}")),
              "");
}

TEST(Processors, RefuseWhatIsNoPictureAndResultsBeyondTheLimit) {
  for (const auto& [family, maker] : kMakers) {
    const auto processor = maker({});
    ASSERT_TRUE(processor.ok()) << family;
    EXPECT_FALSE((*processor)->process(at::zeros({4, 4}, at::kByte)).ok()) << family;
    EXPECT_FALSE((*processor)->process(at::zeros({0, 4, 3}, at::kByte)).ok()) << family;
  }
  const auto clip = clip_processor({});
  EXPECT_THAT(std::string((*clip)->process(formula(1, 100'000)).status().message()),
              HasSubstr("pixels"));
}

}  // namespace
}  // namespace swage::image
