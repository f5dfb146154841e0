#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn_support.h"
#include "swage/nn/rope.h"

namespace swage::nn {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kHeadDim = 8, kMaxPosition = 64;

Value config(const std::string& json) { return *parse_json(json, "config.json"); }

std::string refusal(const std::string& json) {
  return std::string(read_rope(config(json), kHeadDim, kMaxPosition).status().message());
}

// The last row of a sequence of `length`, cosines before sines, as transformers 5.23 gives it for
// head_dim 8, max_position_embeddings 64 and rope_theta 10000.
struct Reference {
  const char* json;
  int64_t length;
  std::vector<float> values;
};

const Reference kReferences[] = {
    {R"({})",
     50,
     {0.3005925, 0.1865125, 0.8823329, 0.9987997, -0.9537526, -0.9824526, 0.4706259, 0.0489804}},
    {R"({"rope_scaling": {"type": "linear", "factor": 4.0}})",
     50,
     {0.9503708, 0.3389460, 0.9925063, 0.9999250, -0.3111193, 0.9408059, 0.1221939, 0.0122497}},
    {R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})",
     50,
     {0.3005925, 0.1865125, 0.8823329, 0.9987997, -0.9537526, -0.9824526, 0.4706259, 0.0489804}},
    {R"({"rope_parameters": {"rope_type": "dynamic", "factor": 2, "rope_theta": 10000}})",
     101,
     {0.8623189, 0.1132747, 0.8258166, 0.9989248, -0.5063657, 0.9935637, 0.5639388, 0.0463602}},
    {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 32}})",
     50,
     {0.3005925, 0.8182133, 0.9981248, 0.9999812, -0.9537526, 0.5749148, 0.0612117, 0.0061250}},
    {R"({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}})",
     50,
     {0.3422635, 0.3859338, 1.1300968, 1.1385440, -1.0859709, 1.0712292, 0.1391335, 0.0139479}},
    {R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
         "truncate": false, "beta_fast": 4.0, "beta_slow": 0.5, "attention_factor": 1.5}})",
     50,
     {0.4508888, 0.4622151, 1.4887594, 1.4998875, -1.4306290, 1.4270098, 0.1832908, 0.0183745}},
    {R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
         "mscale": 0.7, "mscale_all_dim": 0.5}})",
     50,
     {0.3083865, 0.3477344, 1.0182406, 1.0258516, -0.9784821, 0.9651996, 0.1253622, 0.0125673}},
    {R"({"original_max_position_embeddings": 32, "rope_scaling": {"type": "su", "short_factor": [1.0, 1.1, 1.2, 1.3],
         "long_factor": [1, 2, 4, 8]}})",
     20,
     {1.0830717, -0.1707127, 1.0817426, 1.0953281, 0.1641823, 1.0820616, 0.1727217, 0.0160098}},
    {R"({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 32,
         "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1, 2, 4, 8]}})",
     50,
     {0.3292826, -0.8437461, 1.0872362, 1.0954245, -1.0447837, 0.6986362, 0.1338567, 0.0067096}},
};

at::Tensor last_row(const Rope& rope, const std::vector<int64_t>& lengths) {
  const Slots slots = sequences(lengths);
  const RopeTable table = rope.table(slots.positions, slots.lengths, at::ones({1}, at::kFloat));
  return at::cat({table.cos[-1], table.sin[-1]});
}

TEST(RopeTest, EveryScalingGivesTheReferenceInBothSpellings) {
  for (const Reference& reference : kReferences) {
    const auto description = read_rope(config(reference.json), kHeadDim, kMaxPosition);
    ASSERT_TRUE(description.ok()) << reference.json << description.status();
    const Rope rope(*description);
    const at::Tensor row = last_row(rope, {reference.length});
    for (int64_t i = 0; i < 8; ++i) {
      EXPECT_NEAR(row[i].item<float>(), reference.values[static_cast<size_t>(i)], 2e-6)
          << reference.json << " " << i;
    }
    // A longer neighbour in the micro-batch changes nothing.
    EXPECT_TRUE(last_row(rope, {200, 3, reference.length}).equal(row)) << reference.json;
  }
}

TEST(RopeTest, PartialRotationLeavesTheOtherChannelsAlone) {
  const auto description =
      read_rope(config(R"({"partial_rotary_factor": 0.5})"), kHeadDim, kMaxPosition, 1e4, 1.0);
  ASSERT_TRUE(description.ok());
  EXPECT_EQ(description->dim, 4);
  const Rope rope(*description);
  const Slots slots = sequences({5});
  const at::Tensor x = at::randn({5, 3, kHeadDim}, at::kDouble);
  const RopeTable table = rope.table(slots.positions, slots.lengths, x);
  const at::Tensor plain = rotate(x.clone().requires_grad_(), table).detach();
  EXPECT_TRUE(plain.slice(2, 4).equal(x.slice(2, 4)));
  EXPECT_FALSE(plain.slice(2, 0, 4)[4].allclose(x.slice(2, 0, 4)[4]));
  EXPECT_LT((rotate(x.clone(), table) - plain).abs().max().item<double>(), 1e-15)
      << "fused against differentiable";
  EXPECT_TRUE(plain.norm(2, {2}, false).allclose(x.norm(2, {2}, false)))
      << "a rotation keeps the length";
}

TEST(RopeTest, AllOfAHeadRotatesWhereAFamilyKnowsNoShare) {
  for (const char* json : {R"({"partial_rotary_factor": 0.5})",
                           R"({"rope_parameters": {"partial_rotary_factor": 0.5}})"}) {
    EXPECT_EQ(read_rope(config(json), kHeadDim, kMaxPosition)->dim, kHeadDim) << json;
    EXPECT_EQ(read_rope(config(json), kHeadDim, kMaxPosition, 1e4, 0.25)->dim, 4) << json;
  }
  EXPECT_EQ(read_rope(config("{}"), kHeadDim, kMaxPosition, 1e4, 0.25)->dim, 2);
  EXPECT_THAT(refusal(R"({"partial_rotary_factor": 0.5,
                          "rope_scaling": {"type": "linear", "factor": 2}})"),
              HasSubstr("partial_rotary_factor is 0.5, but in this family all of a head rotates"));
  EXPECT_THAT(std::string(read_rope(config(R"({"partial_rotary_factor": 1e300})"), kHeadDim,
                                    kMaxPosition, 1e4, 1.0)
                              .status()
                              .message()),
              HasSubstr("expected 0 to 1"));
}

TEST(RopeTest, KindsOfBlocksHaveTablesOfTheirOwnBesideWhichNothingCounts) {
  const Value flat = config(R"({"rope_parameters": {"rope_type": "linear", "factor": 8,
                                "rope_theta": 5}, "rope_theta": 100, "local": 50})");
  const Value whole = rope_config(flat, "full_attention", "rope_theta");
  EXPECT_EQ(read_rope(whole, kHeadDim, kMaxPosition)->kind, RopeKind::kDefault);
  EXPECT_EQ(read_rope(whole, kHeadDim, kMaxPosition)->theta, 100);
  EXPECT_EQ(read_rope(rope_config(flat, "sliding_attention", "local"), 8, 64)->theta, 50);
  const Value nested = config(R"({"rope_parameters": {"full_attention": {"rope_theta": 7}},
                                  "rope_theta": 100,
                                  "rope_scaling": {"rope_type": "linear", "factor": 8}})");
  const auto scaled = read_rope(rope_config(nested, "full_attention", "rope_theta"), 8, 64);
  EXPECT_EQ(scaled->kind, RopeKind::kLinear);
  EXPECT_EQ(scaled->theta, 7);
  EXPECT_EQ(read_rope(rope_config(nested, "sliding_attention", ""), 8, 64)->theta, 1e4);
}

TEST(RopeTest, RefusesWhatItDoesNotKnowByKey) {
  EXPECT_THAT(refusal(R"({"rope_scaling": {"type": "yran"}})"),
              HasSubstr("rope_type \"yran\" is not supported"));
  EXPECT_THAT(refusal(R"({"rope_scaling": {"type": "linear"}})"), HasSubstr("lacks \"factor\""));
  EXPECT_THAT(refusal(R"({"rope_scaling": 4})"),
              HasSubstr("rope_scaling) is a integer, expected a table"));
  EXPECT_THAT(refusal(R"({"rope_theta": -1})"), HasSubstr("rope_theta -1"));
  EXPECT_THAT(std::string(read_rope(config(R"({"partial_rotary_factor": 0.4})"), kHeadDim,
                                    kMaxPosition, 1e4, 1.0)
                              .status()
                              .message()),
              HasSubstr("over 3 channels"));
  EXPECT_THAT(
      refusal(R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2]}})"),
      HasSubstr("\"short_factor\", a list of 4 numbers (half of the rotary channels); found 2"));
  EXPECT_THAT(
      refusal(
          R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}})"),
      HasSubstr("low_freq_factor < high_freq_factor"));
  EXPECT_THAT(refusal(R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1}})"),
              HasSubstr("lacks \"high_freq_factor\""));
  EXPECT_THAT(refusal(R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_slow": -1}})"),
              HasSubstr("beta_fast 32 and beta_slow -1 must be positive"));
}

TEST(RopeTest, ABetaOfZeroCountsAsAbsent) {
  const auto rope = read_rope(
      config(R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 0, "beta_slow": 0}})"),
      kHeadDim, kMaxPosition);
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->beta_fast, 32);
  EXPECT_EQ(rope->beta_slow, 1);
}

}  // namespace
}  // namespace swage::nn
