// The border of a number format that a plugin brought, without a plugin.
#include <gtest/gtest.h>

#include "swage/algorithm.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/quant/scalar_codec.h"

namespace swage {
namespace {

constexpr char kOrigin[] = "plugin org.example.narrow 1.0.0, narrow.swage.so";

// Throws in decode; else integers of 4 bits.
class Narrow final : public quant::ScalarCodec {
 public:
  Narrow() : ScalarCodec(quant::ScalarTable::integers(-8, 7), {}) {}

 private:
  std::string do_describe() const override { return "one\ntwo"; }
  at::Tensor do_decode(const Parts&, int64_t, int64_t) const override {
    throw std::out_of_range("row 7 of 5");
  }
  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    if (weight.size(0) == 3) throw 3;
    return ScalarCodec::do_fit(weight, request);
  }
  quant::Level<float> level(float low, float high, const quant::LevelStorage&) const override {
    return {std::max(high, -low) / 7 + 1e-6f, 0, 1};
  }
  quant::Level<double> level(double low, double high, const quant::LevelStorage&) const override {
    return {std::max(high, -low) / 7 + 1e-6, 0, 1};
  }
  const void* do_query(std::string_view ability) const override {
    return ability == "narrow" ? this : nullptr;
  }
};

std::shared_ptr<const Codec> narrow(const std::string& name, const std::string& origin) {
  register_format(
      name, [](const Params&) { return std::make_unique<Narrow>(); }, origin);
  return *make_codec({name, {}});
}

TEST(CodecBorder, TurnsWhatACallWithAStatusThrowsIntoOne) {
  const auto codec = narrow("narrow", kOrigin);
  const absl::Status status = codec->fit(at::ones({3, 4}), {}).status();
  EXPECT_EQ(status.message(),
            std::string("format \"narrow\": fit: an exception that is no std::exception (") +
                kOrigin + ")");
  EXPECT_TRUE(status.GetPayload(kThrownByPlugin).has_value());
  EXPECT_TRUE(codec->fit(at::ones({2, 4}), {}).ok());
}

TEST(CodecBorder, ThrowsWhatACallWithoutAStatusThrowsWithItsName) {
  const auto codec = narrow("narrow", kOrigin);
  const auto decode = [&] { return codec->decode({{"codes", at::ones({1})}}, 1, 1); };
  try {
    decode();
    FAIL() << "it throws";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(error.what(),
              std::string("format \"narrow\": decode: exception: row 7 of 5 (") + kOrigin + ")");
  }
  // Within the call of another plugin the fault stays the format's.
  const absl::Status status = call_plugin({"gptq", "block 3", "plugin swage.gptq"},
                                          [&] { return decode(), absl::OkStatus(); });
  EXPECT_EQ(status.message(),
            std::string("gptq: block 3: format \"narrow\": decode: exception: row 7 of 5 (") +
                kOrigin + ")");
  EXPECT_TRUE(status.GetPayload(kThrownByPlugin).has_value());
}

TEST(CodecBorder, IsNoneOfTheFormatsThatTheSdkBrings) {
  EXPECT_THROW(narrow("own", "")->decode({}, 1, 1), std::out_of_range);
}

TEST(CodecBorder, MakesItsTextPrintable) {
  EXPECT_EQ(narrow("narrow", kOrigin)->describe(), "one\\ntwo");
}

class Answers final : public Algorithm {
 public:
  absl::Status subset_transform(SubsetContext&) override { return absl::OkStatus(); }

 private:
  const void* do_query(std::string_view ability) const override {
    return ability == "answers" ? this : nullptr;
  }
};

TEST(Interfaces, AnswerForAbilitiesByName) {
  const Answers answers;
  EXPECT_EQ(answers.query("answers"), &answers);
  EXPECT_EQ(answers.query("another"), nullptr);
  const auto codec = narrow("narrow", kOrigin);
  EXPECT_EQ(codec->query("narrow"), dynamic_cast<const Narrow*>(codec.get()));
  EXPECT_EQ((*make_codec({"int", {}}))->query("narrow"), nullptr) << "no ability by default";
}

TEST(Needs, SettersLeaveCopiesAsTheyAre) {
  const Needs first = Needs().hessian().calibrate_on(Stream::kOriginal);
  Needs second = first;
  second.sides().sample(7).calibrate_on(Stream::kCompressed);
  EXPECT_TRUE(second.wants_hessian() && second.leaves_sides());
  EXPECT_EQ(second.sample_tokens(), 7);
  EXPECT_EQ(second.stream(), Stream::kCompressed);
  EXPECT_FALSE(first.leaves_sides() || first.wants_range());
  EXPECT_EQ(first.sample_tokens(), 0);
  EXPECT_EQ(first.stream(), Stream::kOriginal);
}

}  // namespace
}  // namespace swage
