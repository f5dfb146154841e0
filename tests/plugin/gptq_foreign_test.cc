// What decode() makes of GPTQ files that other tools wrote, and of files that do not hold.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;

const char kLinear[] = "model.layers.0.mlp.up_proj";
const Value::Table kParams = {{"shard_size", 5000}, {"checkpoint_format", "auto"}};
const Value::Table kSecond = {{"shard_size", 5000}, {"checkpoint_format", "gptq_v2"}};

class GptqForeign : public testing::Test {
 protected:
  Export& write(const std::string& json, const Value::Table& params = kParams, int64_t out = 32,
                int64_t in = 96) {
    linear_ = quantized(kLinear, out, in, scheme(json), at::kHalf);
    run_ = std::make_unique<Export>("gptq", params);
    run_->add(linear_);
    run_->finish();
    store_ = run_->store();
    config_ = *run_->config()["quantization_config"].table();
    return *run_;
  }
  at::Tensor& tensor(const std::string& part) {
    return store_.tensors[std::string(kLinear) + "." + part];
  }
  absl::StatusOr<Result> read() {
    return run_->exporter().decode(kLinear, store_,
                                   Value(Value::Table{{"quantization_config", config_}}));
  }
  std::string message() {
    const auto result = read();
    EXPECT_NE(result.status().code(), absl::StatusCode::kNotFound) << result.status();
    return result.ok() ? "decoded" : std::string(result.status().message());
  }
  std::string with(const std::string& key, const Value& value) {
    const Value::Table before = config_;
    config_[key] = value;
    std::string told = message();
    config_ = before;
    return told;
  }

  Result linear_;
  std::unique_ptr<Export> run_;
  TensorStore store_;
  Value::Table config_;
};

TEST_F(GptqForeign, ReadsOldSpellings) {
  write(R"({"group": 32})");
  for (const char* json :
       {R"({"bits": 4, "group_size": 32, "desc_act": false, "sym": true, "damp_percent": 0.01,
            "true_sequential": true, "model_name_or_path": null, "quant_method": "gptq"})",
        R"({"w_bit": 4, "q_group_size": 32, "quant_method": "gptq"})",
        R"({"bits": 4, "group_size": 32, "sym": true, "method": "gptq", "format": "gptq",
            "quant_method": "gptq", "checkpoint_format": "gptq", "pack_dtype": "int32",
            "dynamic": null, "adapter": null, "meta": {"quantizer": ["gptqmodel:7.7.0"]}})"}) {
    config_ = *must(parse_json(json, "test")).table();
    EXPECT_EQ(digest(must(read())), digest(linear_)) << json;
  }
  store_.tensors.erase(std::string(kLinear) + ".g_idx");
  EXPECT_EQ(digest(must(read())), digest(linear_));
}

TEST_F(GptqForeign, RulesOverrideTheScheme) {
  write(R"({"bits": 8, "group": 48})");
  config_["bits"] = 4;
  config_["group_size"] = 128;
  const auto rules = [&](const std::string& json) {
    return with("dynamic", must(parse_json(json, "test")));
  };
  const std::string own = R"({"bits": 8, "group_size": 48})";
  EXPECT_EQ(rules(R"({"+:.*\\.up_proj.*": )" + own + "}"), "decoded");
  EXPECT_EQ(rules(R"({".*up_proj": )" + own + R"(, "-:.*down": {}})"), "decoded");
  EXPECT_EQ(rules(R"({"-:.*\\.mlp": {}, "+:model": )" + own + "}"), "decoded")
      << "the tensors tell which of both is first";
  EXPECT_THAT(rules(R"({"+:layers": )" + own + "}"), HasSubstr("expected")) << "from the start";
  EXPECT_THAT(rules(R"({"+:.*up": )" + own + R"(, "+:model": {"bits": 2}})"),
              HasSubstr("has several rules for model.layers.0.mlp.up_proj that differ"));
  EXPECT_THAT(rules(R"({"-:.*up_proj": {}})"),
              HasSubstr("dynamic keeps model.layers.0.mlp.up_proj in floats, but there is"));
  EXPECT_THAT(rules(R"({"+:(": {}})"), HasSubstr("dynamic: the regular expression \"(\" is not"));
  EXPECT_THAT(rules(R"({"+:.*": 3})"), HasSubstr("dynamic is 3, expected a table"));
  EXPECT_THAT(rules(R"({"+:.*": {"bits": 8, "format": "marlin"}})"),
              HasSubstr("dynamic.format is \"marlin\", expected nothing"));
}

// Zero points of the middle are symmetric; others count, whatever `sym` says.
TEST_F(GptqForeign, ZeroPointsCount) {
  write(R"({"group": 32, "symmetric": false})", kSecond);
  config_["sym"] = true;
  EXPECT_EQ(digest(must(read())), digest(linear_));
  write(R"({"group": 32})");
  config_["sym"] = false;
  const Result back = must(read());
  EXPECT_TRUE(at::equal(decode(back), decode(linear_)));
  EXPECT_NE(digest(back), digest(linear_));
}

// GPTQModel subtracts one from whole words, and adds it so: a zero point of zero borrows.
TEST_F(GptqForeign, FirstFormatWithZeroPoints) {
  for (const auto& [bits, one] : {std::pair(2, 0x55555555), {4, 0x11111111}, {8, 0x01010101}}) {
    write(absl::StrCat(R"({"group": 32, "symmetric": false, "bits": )", bits, "}"), kSecond);
    Result changed = linear_;
    changed.set_part("zeros", at::randint(-(1 << (bits - 1)), 1 << (bits - 1), {32, 3}, at::kChar));
    run_ = std::make_unique<Export>("gptq", kSecond);
    run_->add(changed);
    store_ = run_->store();
    tensor("qzeros") = tensor("qzeros") - one;
    config_["checkpoint_format"] = "gptq";
    EXPECT_EQ(digest(must(read())), digest(changed)) << bits;
  }
  write(R"({"bits": 3, "group": 32, "symmetric": false})", kSecond);
  config_["checkpoint_format"] = "gptq";
  tensor("qzeros").fill_(-1);
  EXPECT_TRUE(must(read()).part("zeros").eq(-4).all().item<bool>()) << "field by field";
}

TEST_F(GptqForeign, GroupsInPiecesAreReadExactly) {
  for (const char* json : {R"({"group": 32})", R"({"group": 32, "symmetric": false})"}) {
    write(json);
    const at::Tensor order = at::tensor({2, 0, 1}), inverse = at::tensor({1, 2, 0});
    tensor("g_idx") = order.repeat_interleave(32).to(at::kInt);
    for (const char* part : {"scales", "qzeros"})
      tensor(part) = tensor(part).index_select(0, inverse);
    EXPECT_EQ(digest(must(read())), digest(linear_)) << json;
  }
}

// Columns in the order of activations: codes lie in the original order.
TEST_F(GptqForeign, ScatteredGroupsBecomeDense) {
  for (const char* json : {R"({"group": 32})", R"({"bits": 3, "group": 32})",
                           R"({"bits": 8, "group": 32, "symmetric": false})"}) {
    write(json);
    config_["desc_act"] = true;
    const at::Tensor permutation = at::randperm(96);
    Export shuffled("gptq", kParams);
    Result moved = linear_;
    moved.set_part("codes", linear_.part("codes").index_select(1, permutation));
    shuffled.add(moved);
    store_ = shuffled.store();
    tensor("g_idx") = permutation.floor_divide(32).to(at::kInt);
    const Result back = must(read());
    EXPECT_TRUE(at::equal(decode(back), decode(linear_).index_select(1, permutation))) << json;
    EXPECT_EQ(decoded_type(back), at::kHalf);
    store_.tensors.erase(std::string(kLinear) + ".g_idx");
    EXPECT_THAT(message(), HasSubstr("g_idx is missing, expected the group of each input"));
  }
  write(R"({"group": 32})");
  tensor("g_idx")[5] = 3;
  EXPECT_THAT(message(), HasSubstr("g_idx is a group that is not there, expected 0 to 2"));
}

TEST_F(GptqForeign, EveryValueCounts) {
  write(R"({"group": 32, "symmetric": false})");
  const std::string whole = digest(must(read()));
  const TensorStore stored = store_;
  for (const char* part : {"qweight", "qzeros", "scales", "g_idx"}) {
    tensor(part) = tensor(part).clone();
    static_cast<uint8_t*>(tensor(part).mutable_data_ptr())[0] ^= 1;
    EXPECT_NE(digest(must(read())), whole) << part;
    store_ = stored;
  }
}

TEST_F(GptqForeign, IsReportedByKeyOfTheConfig) {
  write(R"({"group": 32})");
  EXPECT_EQ(with("bits", 5),
            "config.json: quantization_config.bits is 5, expected one of 2, 3, 4, 8");
  EXPECT_THAT(with("bits", 8), HasSubstr("qzeros is [3, 4], expected [2, 8]"));
  EXPECT_THAT(with("bits", 3), HasSubstr("is [3, 4], expected [4, 3]"));
  EXPECT_THAT(with("bits", "four"), HasSubstr("bits is \"four\""));
  EXPECT_THAT(with("bits", Value()), HasSubstr("bits is null"));
  EXPECT_THAT(with("group_size", 64), HasSubstr("qzeros is [3, 4], expected [2, 4]"));
  EXPECT_THAT(with("group_size", -1), HasSubstr("expected [1, 4]"));
  EXPECT_THAT(with("group_size", 0), HasSubstr("group_size is 0"));
  EXPECT_THAT(with("group_size", -2), HasSubstr("group_size is -2, expected -1 to"));
  EXPECT_THAT(with("sym", 1), HasSubstr("sym is 1, expected true or false"));
  EXPECT_THAT(with("checkpoint_format", "gptq_p"),
              HasSubstr("checkpoint_format is \"gptq_p\", expected \"gptq\" or \"gptq_v2\""));
  EXPECT_THAT(with("format", "marlin"), HasSubstr("format is \"marlin\""));
  EXPECT_THAT(with("format", "gptq_v2"), HasSubstr("expected \"gptq_v2\", as format says"));
  EXPECT_THAT(with("is_marlin_format", true), HasSubstr("is_marlin_format is true"));
  EXPECT_THAT(with("adapter", Value::Table{{"rank", 8}}), HasSubstr("expected nothing"));
  EXPECT_THAT(with("pack_dtype", "int16"), HasSubstr("pack_dtype is \"int16\""));
  EXPECT_THAT(with("quant_method", "awq"), HasSubstr("quant_method is \"awq\""));
  EXPECT_THAT(with("scale_dtype", "int8"), HasSubstr("scale_dtype is \"int8\""));
  EXPECT_THAT(with("scale_dtype", "bfloat16"), HasSubstr("scales is of other values"));
  EXPECT_THAT(with("dynamic", Value::List()), HasSubstr("dynamic is list, expected a table"));
  config_["checkpoint_format"] = "gptq_v2";
  EXPECT_NE(digest(must(read())), digest(linear_)) << "zero points of seven";
}

TEST_F(GptqForeign, IsReportedByTensor) {
  write(R"({"group": 32})");
  const TensorStore stored = store_;
  const auto changed = [&](const std::string& part, const auto& change) {
    tensor(part) = change(tensor(part));
    if (!tensor(part).defined()) store_.tensors.erase(std::string(kLinear) + "." + part);
    std::string told = message();
    store_ = stored;
    return told;
  };
  const auto missing = [](const at::Tensor&) { return at::Tensor(); };
  const auto cut = [](const at::Tensor& t) { return t.narrow(0, 0, t.size(0) - 1); };
  const auto wide = [](const at::Tensor& t) { return t.to(at::kLong); };
  EXPECT_EQ(changed("qzeros", missing),
            "model.layers.0.mlp.up_proj.qzeros is missing, expected [3, 4]");
  EXPECT_THAT(changed("scales", missing), HasSubstr("scales is missing, expected [3, 32]"));
  EXPECT_THAT(changed("qweight", missing),
              HasSubstr("expected floats: there is no model.layers.0.mlp.up_proj.qweight"));
  EXPECT_THAT(changed("qweight", cut), HasSubstr("g_idx is [96], expected [88]"));
  EXPECT_THAT(changed("qweight", wide), HasSubstr("qweight is Long, expected Int"));
  EXPECT_THAT(changed("qweight", [](const at::Tensor& t) { return t.flatten(); }),
              HasSubstr("qweight is [384], expected a shape of 2 sizes"));
  EXPECT_THAT(changed("qweight", [](const at::Tensor& t) { return t.narrow(1, 0, 5); }),
              HasSubstr("qweight is 5 columns, expected a multiple of 8"));
  EXPECT_THAT(changed("qzeros", wide), HasSubstr("qzeros is Long, expected Int"));
  EXPECT_THAT(changed("qzeros", cut), HasSubstr("qzeros is [2, 4], expected [3, 4]"));
  EXPECT_THAT(changed("scales", cut), HasSubstr("scales is [2, 32], expected [3, 32]"));
  EXPECT_THAT(changed("scales", wide), HasSubstr("scales is Long, expected Float or Half"));
  EXPECT_THAT(changed("scales", [](const at::Tensor& t) { return t / 0; }),
              HasSubstr("is not finite"));
  EXPECT_THAT(changed("g_idx", wide), HasSubstr("g_idx is Long, expected Int"));
  EXPECT_THAT(changed("g_idx", [](const at::Tensor& t) { return t - 1; }),
              HasSubstr("a group that is not there"));
}

}  // namespace
}  // namespace swage
