#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "nn_support.h"
#include "swage/nn/load.h"

namespace swage::nn {
namespace {

using ::testing::HasSubstr;

std::string message(const absl::Status& status) { return std::string(status.message()); }

TEST(LoadTest, UpcastsEveryFloatTypeAndRemembersHowItIsStored) {
  for (at::ScalarType type :
       {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble, at::kFloat8_e4m3fn}) {
    MemorySource source;
    const at::Tensor values = at::arange(6, at::kFloat).view({2, 3}) * 0.5;
    source.tensors["a.weight"] = values.to(type);
    const auto linear = load_linear(source, "a", 2, 3, false, {});
    ASSERT_TRUE(linear.ok()) << linear.status();
    EXPECT_EQ(linear->weight.scalar_type(), at::kFloat);
    EXPECT_EQ(linear->storage, type);
    EXPECT_TRUE(linear->weight.equal(values));
    EXPECT_FALSE(linear->bias.defined());
  }
}

TEST(LoadTest, RefusesNotFiniteValuesByTensorAndIndexInEveryType) {
  for (at::ScalarType type : {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble}) {
    MemorySource source;
    at::Tensor values = at::ones({40, 33}, at::kFloat);
    values[7][32] = std::numeric_limits<float>::infinity();
    values[39][1] = std::numeric_limits<float>::quiet_NaN();
    source.tensors["norm"] = values.to(type);
    const absl::Status infinite = load_parameter(source, "norm", {40, 33}, {}).status();
    EXPECT_EQ(infinite.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(message(infinite), HasSubstr("tensor norm holds infinity at [7, 32]"));
    values[7][32] = -1.0;
    source.tensors["norm"] = values.to(type);
    EXPECT_THAT(message(load_parameter(source, "norm", {40, 33}, {}).status()),
                HasSubstr("tensor norm holds NaN at [39, 1]: the checkpoint is damaged"));
  }
}

TEST(LoadTest, TakesTheLargestFiniteValueForWhatItIs) {
  MemorySource source;
  source.tensors["w"] = at::ones({5}, at::kFloat) * std::numeric_limits<float>::max();
  EXPECT_TRUE(load_parameter(source, "w", {5}, {}).ok());
}

TEST(LoadTest, RefusesAnotherShapeAnIntegerTypeAndAnAbsentTensor) {
  MemorySource source;
  source.tensors["a.weight"] = at::ones({2, 3}, at::kFloat);
  source.tensors["b.weight"] = at::ones({2, 3}, at::kByte);
  EXPECT_THAT(message(load_linear(source, "a", 3, 2, false, {}).status()),
              HasSubstr("tensor a.weight has shape [2, 3], config.json asks for [3, 2]"));
  EXPECT_THAT(message(load_linear(source, "b", 2, 3, false, {}).status()),
              HasSubstr("tensor b.weight is stored as Byte, expected a floating point dtype"));
  const absl::Status absent = load_linear(source, "a", 2, 3, true, {}).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message(absent), HasSubstr("a.bias"));
}

}  // namespace
}  // namespace swage::nn
