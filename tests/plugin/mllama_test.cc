#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace swage {
namespace {

using ::testing::HasSubstr;
using testing_support::loader;
using testing_support::must;
using testing_support::Tiny;

constexpr int64_t kTokens = 24, kTiles = 4, kImageToken = 256;

// The reference's sequence with its image twice, the second time mirrored and on two tiles.
struct TwoImages {
  const std::shared_ptr<const Tiny> tiny = std::make_shared<const Tiny>("mllama");
  SequenceInputs inputs = tiny->inputs;

  TwoImages() {
    const at::Tensor pixels = inputs.at("pixel_values").view({1, kTiles, 3, 28, 28});
    inputs["pixel_values"] = at::cat({pixels, pixels.flip(-1)});
    inputs["aspect_ratio_ids"] = at::tensor({6, 2}, at::kLong);
    inputs["aspect_ratio_mask"] = at::tensor({1, 1, 1, 1, 1, 1, 0, 0}, at::kLong).view({2, kTiles});
    inputs.erase("cross_attention_mask");
  }

  at::Tensor ids(int64_t first, int64_t second) const {
    at::Tensor ids = tiny->ids.masked_fill(tiny->ids.eq(kImageToken), 7);
    ids[first] = kImageToken;
    ids[second] = kImageToken;
    return ids;
  }
  at::Tensor logits(const at::Tensor& ids) const {
    return tiny->run(ids, {kTokens}, at::kFloat, {}, inputs).back();
  }
  // Image 0 is seen by [first, first_end), image 1 from `second` to the end.
  void write_mask(int64_t first, int64_t first_end, int64_t second) {
    at::Tensor mask = at::zeros({kTokens, 2, kTiles}, at::kLong);
    mask.slice(0, first, first_end).select(1, 0).fill_(1);
    mask.slice(0, second).select(1, 1).slice(1, 0, 2).fill_(1);
    inputs["cross_attention_mask"] = mask;
  }
  std::string refusal(const at::Tensor& ids) const {
    try {
      logits(ids);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }
};

TEST(MllamaTest, AnImageIsSeenFromItsPlaceToTheNextOne) {
  TwoImages images;
  const at::Tensor ids = images.ids(1, 9), derived = images.logits(ids);
  images.write_mask(1, 9, 9);
  EXPECT_TRUE(images.logits(ids).equal(derived));
  images.write_mask(1, kTokens, 9);
  EXPECT_FALSE(images.logits(ids).equal(derived));
}

TEST(MllamaTest, ImagesWithoutTextBetweenThemAreSeenTogether) {
  TwoImages images;
  const at::Tensor ids = images.ids(3, 4), derived = images.logits(ids);
  images.write_mask(3, kTokens, 4);
  EXPECT_TRUE(images.logits(ids).equal(derived));
  images.write_mask(3, 4, 4);
  EXPECT_FALSE(images.logits(ids).equal(derived));
}

TEST(MllamaTest, TextAlonePassesByTheBlocksThatLookAtImages) {
  const Tiny tiny("mllama");
  const auto states = tiny.run(tiny.ids, {kTokens}, at::kFloat);
  EXPECT_TRUE(states[1].equal(states[2]));
  EXPECT_FALSE(states[2].equal(states[3]));
}

TEST(MllamaTest, InputsThatDoNotFitAreRefusedByName) {
  TwoImages images;
  const at::Tensor one = images.ids(5, 5), two = images.ids(1, 9);
  EXPECT_THAT(images.refusal(one), HasSubstr("2 images, but its ids hold the image token 256 1 "));
  const SequenceInputs good = images.inputs;
  images.inputs["aspect_ratio_ids"] = at::tensor({6, 9}, at::kLong);
  EXPECT_THAT(images.refusal(two), HasSubstr("aspect_ratio_ids holds a number outside of 0 to 8"));
  images.inputs = good;
  images.inputs["aspect_ratio_mask"] = at::zeros({2, kTiles}, at::kLong);
  EXPECT_THAT(images.refusal(two), HasSubstr("the first tile of an image is absent"));
  images.inputs = good;
  images.inputs["cross_attention_mask"] = at::ones({kTokens - 1, 2, kTiles}, at::kLong);
  EXPECT_THAT(images.refusal(two),
              HasSubstr("cross_attention_mask is Long [23, 2, 4], expected integers [24, 2, 4]"));
  images.inputs = good;
  images.inputs["pixel_values"] = at::zeros({2, kTiles, 3, 28, 14});
  EXPECT_THAT(images.refusal(two), HasSubstr("expected [images, 4, 3, 28, 28]"));
  images.inputs = good;
  images.inputs.erase("aspect_ratio_mask");
  EXPECT_THAT(images.refusal(two), HasSubstr("lacks \"aspect_ratio_mask\""));
}

std::string refusal_of(const std::string& json) {
  return std::string(
      must(loader().model("mllama"))->open(must(parse_json(json, "config.json"))).message());
}

TEST(MllamaTest, KeysOfConfigThatDoNotFitAreNamed) {
  EXPECT_EQ(refusal_of(R"({"text_config": {}, "vision_config": {}})"), "");
  EXPECT_THAT(refusal_of(R"({"text_config": {"cross_attention_layers": [40]}})"),
              HasSubstr("cross_attention_layers must be numbers from 0 to 39"));
  EXPECT_THAT(refusal_of(R"({"vision_config": {"intermediate_layers_indices": [1]}})"),
              HasSubstr("vision_config.vision_output_dim"));
  EXPECT_THAT(refusal_of(R"({"vision_config": {"num_global_layers": 0}})"),
              HasSubstr("vision_config.num_global_layers"));
  EXPECT_THAT(refusal_of(R"({"text_config": {"tie_word_embeddings": true}})"),
              HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(refusal_of(R"({"quantization_config": {"quant_method": "awq"}})"),
              HasSubstr("quantization_config"));
}

}  // namespace
}  // namespace swage
