#include "swage/transform/online.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/scheme.h"

namespace swage::transform {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

at::Tensor numbers(int64_t rows, int64_t columns) {
  return (at::arange(rows * columns, at::kDouble) * 0.7391 + 0.1).sin().view({rows, columns});
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

Result per_channel(const Linear& linear) {
  const auto format = test::weight("int", {{"granularity", "channel"}});
  auto result = quant::quantize(linear, test::target(format, at::kFloat));
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

Linear linear_of(int64_t out, int64_t in) {
  Linear linear;
  linear.name = "model.layers.0.mlp.down_proj";
  linear.weight = numbers(out, in).mul(0.1);
  return linear;
}

Subset subset_of(Linear& linear) {
  Subset subset;
  subset.name = subset.input = "mlp.output";
  subset.linears = {&linear};
  subset.fold.kind = FoldTarget::Kind::kLinearRows;
  return subset;
}

TEST(OnlineTransform, TheFastWayIsTheProductWithAnOrthogonalMatrix) {
  for (int64_t width : {1, 2, 3, 4, 12, 16, 33, 40, 64, 96, 172, 576, 1536}) {
    const OnlineTransform transform = OnlineTransform::widest(width, 7);
    const at::Tensor r = transform.matrix(), x = numbers(5, width);
    EXPECT_LT(largest(r.matmul(r.t()) - at::eye(width, at::kDouble)), 1e-12) << width;
    EXPECT_LT(largest(transform.apply(x) - x.matmul(r)), 1e-12) << width;
    EXPECT_LT(largest(transform.undo(x) - x.matmul(r.t())), 1e-12) << width;
    const at::Tensor narrow = x.to(at::kFloat);
    EXPECT_EQ(transform.apply(narrow).scalar_type(), at::kFloat);
    EXPECT_LT(largest(transform.apply(narrow) - x.matmul(r)), 1e-5) << width;
  }
}

TEST(OnlineTransform, TakesTheWidestHadamardMatrixAndARandomOneForOddWidths) {
  const std::pair<int64_t, const char*> expected[] = {
      {64, "hadamard 64"},       {1536, "hadamard 1536"}, {29568, "hadamard 29568"},
      {11008, "hadamard 256"},   {172, "hadamard 4"},     {14336, "hadamard 14336"},
      {18944, "hadamard 18944"}, {33, "random 7"}};
  for (const auto& [width, text] : expected)
    EXPECT_EQ(OnlineTransform::widest(width, 7).text(), text) << width;
}

TEST(OnlineTransform, IsReadBackFromItsText) {
  for (int64_t width : {96, 172, 33}) {
    const OnlineTransform transform = OnlineTransform::widest(width, 11);
    const auto again = OnlineTransform::parse(transform.text(), width);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->matrix().equal(transform.matrix()));
  }
  for (const char* text :
       {"hadamard", "hadamard 5", "hadamard 172", "hadamard 0", "random", "dct 4"})
    EXPECT_THAT(std::string(OnlineTransform::parse(text, 172).status().message()),
                HasSubstr("is no transform of 172 channels"))
        << text;
}

TEST(OnlineTransform, BytesOfARowDependOnNothingElse) {
  const OnlineTransform transform = OnlineTransform::widest(1536, 0);
  const at::Tensor x = numbers(70, 1536).to(at::kFloat), whole = transform.apply(x);
  for (int64_t row : {0, 33, 69})
    EXPECT_TRUE(transform.apply(x.narrow(0, row, 1)).equal(whole.narrow(0, row, 1)));
  EXPECT_EQ(transform.apply(x.narrow(0, 0, 0)).size(0), 0);
}

TEST(OnlineTransform, PassesGradientsBack) {
  const OnlineTransform transform = OnlineTransform::widest(96, 0);
  const at::Tensor x = numbers(3, 96).requires_grad_(true), pull = numbers(3, 96).cos();
  transform.apply(x).backward(pull);
  EXPECT_LT(largest(x.grad() - transform.undo(pull)), 1e-12);
}

TEST(TransformInput, KeepsTheFunctionUntilItIsTakenBack) {
  Linear linear = linear_of(8, 96);
  Subset subset = subset_of(linear);
  const at::Tensor x = numbers(9, 96), expected = linear.apply(x), before = linear.weight;
  ASSERT_TRUE(
      transform_input(subset, std::make_shared<OnlineTransform>(OnlineTransform::widest(96, 0)))
          .ok());
  EXPECT_GT(largest(linear.weight - before), 1e-3);
  EXPECT_LT(largest(linear.apply(x) - expected), 1e-12);
  EXPECT_EQ(subset.fold.kind, FoldTarget::Kind::kNone);
  take_back_transform(linear);
  EXPECT_LT(largest(linear.weight - before), 1e-12);
  EXPECT_FALSE(linear.online_transform);
}

TEST(TransformInput, ResultsCarryItAndQuantizeWhatTheyTransformed) {
  Linear linear = linear_of(8, 96);
  Subset subset = subset_of(linear);
  const auto transform = std::make_shared<OnlineTransform>(OnlineTransform::widest(96, 0));
  ASSERT_TRUE(transform_input(subset, transform).ok());
  Result result = per_channel(linear);
  result.set_activation(ActivationQuantizer{test::inputs("int"), {}});
  const std::string plain = digest(result);
  ASSERT_TRUE(linear.set_result(result).ok());
  EXPECT_EQ(linear.result()->online_transform(), "hadamard 96");
  EXPECT_NE(digest(*linear.result()), plain);
  linear.set_view(View::kCompressed);
  const at::Tensor x = numbers(9, 96);
  const at::Tensor input = result.activation()->apply(transform->apply(x));
  EXPECT_LT(largest(linear.apply(x) - input.matmul(decode(result).to(at::kDouble).t())), 1e-12);
  // A result that was read from somewhere says it all by itself.
  Linear other = linear_of(8, 96);
  ASSERT_TRUE(other.set_result(*linear.result()).ok());
  other.set_view(View::kCompressed);
  EXPECT_TRUE(other.apply(x).equal(linear.apply(x)));
  other.drop_float();
  other.set_view(View::kFloat);
  EXPECT_LT(largest(other.apply(x) - transform->apply(x).matmul(other.weight.t())), 1e-12);
}

TEST(TransformInput, RefusesWhatWouldNotFollowIt) {
  const auto transform = std::make_shared<OnlineTransform>(OnlineTransform::widest(96, 0));
  const auto message = [&](Subset& subset) {
    return std::string(transform_input(subset, transform).message());
  };
  Linear linear = linear_of(8, 96), reader = linear_of(2, 96);
  Subset shared = subset_of(linear);
  shared.readers = {&reader};
  EXPECT_THAT(message(shared), HasSubstr("reads the same tensor"));
  Subset subset = subset_of(linear);
  linear.clip_low = linear.clip_high = at::ones({8, 1});
  EXPECT_THAT(message(subset), HasSubstr("has range limits"));
  linear.clip_low = linear.clip_high = at::Tensor();
  linear.mask = at::ones({8, 96}, at::kBool);
  EXPECT_THAT(message(subset), HasSubstr("has a mask"));
  linear.mask = at::Tensor();
  ASSERT_EQ(message(subset), "");
  EXPECT_THAT(message(subset), HasSubstr("has a transform of its input already"));
  ASSERT_TRUE(linear.set_result(per_channel(linear)).ok());
  EXPECT_THAT(message(subset), StartsWith("mlp.output: model.layers.0.mlp.down_proj has"));
}

TEST(TransformInput, ResultsWithATransformOfAnotherWidthAreRefused) {
  Linear linear = linear_of(8, 96);
  Result result = per_channel(linear);
  result.set_online_transform("hadamard 64");
  EXPECT_THAT(std::string(validate(result).message()),
              HasSubstr("down_proj: \"hadamard 64\" is no transform of 96 channels"));
}

}  // namespace
}  // namespace swage::transform
