// Floats of 4 and 8 bits in compressed-tensors: names, types and bytes as its readers expect them.
#include <ATen/Context.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Value::Table kParams = {{"shard_size", 5000}};
const std::string kLinear = "model.layers.0.mlp.up_proj";

struct Kind {
  std::string weight, activation, format;
};

const Kind kNvfp4{R"({"format": "nvfp4"})", "", "nvfp4-pack-quantized"};
const Kind kNvfp4Inputs{kNvfp4.weight, R"({"format": "nvfp4", "dynamic": false})", kNvfp4.format};
const Kind kMxfp4{R"({"format": "mxfp4"})", "", "mxfp4-pack-quantized"};
const Kind kMxfp4Inputs{kMxfp4.weight, R"({"format": "mxfp4", "dynamic": true})", kMxfp4.format};
const Kind kMxfp8{R"({"format": "mxfp8"})", "", "mxfp8-quantized"};
const Kind kMxfp8Inputs{kMxfp8.weight, R"({"format": "mxfp8", "dynamic": true})", kMxfp8.format};
const Kind kBlocks{
    R"({"format": "fp8-e4m3", "granularity": "block", "block_rows": 32, "block_columns": 32})", "",
    "float-quantized"};
const Kind kBlocksInputs{kBlocks.weight,
                         R"({"format": "fp8-e4m3", "granularity": "group", "group": 32})",
                         kBlocks.format};
const Kind kKinds[] = {kNvfp4, kNvfp4Inputs, kMxfp4,  kMxfp4Inputs,
                       kMxfp8, kMxfp8Inputs, kBlocks, kBlocksInputs};

ActivationQuantizer inputs(const std::string& json) {
  ActivationQuantizer quantizer;
  quantizer.codec = scheme(json);
  if (!absl::StrContains(json, "mxfp")) return activation(json);
  quantizer.levels = quantizer.codec->input_levels(-3.0f, 5.0f);
  return quantizer;
}

// 45 rows: two blocks of 32, of which the last is cut.
Result make(const Kind& kind) {
  Result linear = quantized(kLinear, 45, 96, scheme(kind.weight));
  if (!kind.activation.empty()) linear.set_activation(inputs(kind.activation));
  return linear;
}

const Value& group(const Export& run) {
  return run.config()["quantization_config"]["config_groups"]["group_0"];
}

// "name type [shape]" of all that was written.
std::vector<std::string> written(const Export& run) {
  std::vector<std::string> all;
  for (const std::string& name : run.files().names()) {
    std::ostringstream text;
    text << name.substr(kLinear.size() + 1) << " " << must(run.files().dtype(name)) << " "
         << at::IntArrayRef(must(run.files().shape(name)));
    all.push_back(text.str());
  }
  return all;
}

std::vector<std::string> written(const Kind& kind) {
  Export run("compressed-tensors", kParams);
  run.add(make(kind));
  run.finish();
  return written(run);
}

TEST(CompressedTensorsFloats, FilesDecodeToWhatWasEncoded) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.weight + " " + kind.activation);
    const Result linear = make(kind);
    Export run("compressed-tensors", kParams);
    run.add(linear);
    run.finish();
    const Result back = must(run.decode(kLinear));
    EXPECT_EQ(digest(back), digest(linear));
    EXPECT_TRUE(at::equal(decode(back), decode(linear)));
    EXPECT_EQ(*run.config()["quantization_config"]["format"].text(), kind.format);
    EXPECT_EQ(*group(run)["format"].text(), kind.format);
    EXPECT_EQ(*run.config()["quantization_config"]["version"].text(), "0.17.0")
        << "the first release that has all formats and keys";
    if (!linear.activation()) continue;
    const at::Tensor x = at::randn({3, 96});
    EXPECT_TRUE(at::equal(back.activation()->apply(x), linear.activation()->apply(x)));
  }
}

TEST(CompressedTensorsFloats, HaveTheNamesTypesAndShapesOfTheFormats) {
  EXPECT_THAT(written(kNvfp4),
              ElementsAre("weight_global_scale Float [1]", "weight_packed Byte [45, 48]",
                          "weight_scale Float8_e4m3fn [45, 6]"));
  EXPECT_THAT(written(kNvfp4Inputs),
              ElementsAre("input_global_scale Float [1]", "weight_global_scale Float [1]",
                          "weight_packed Byte [45, 48]", "weight_scale Float8_e4m3fn [45, 6]"));
  EXPECT_THAT(written(kMxfp4),
              ElementsAre("weight_packed Byte [45, 48]", "weight_scale Byte [45, 3]"));
  EXPECT_THAT(written(kMxfp4Inputs), testing::Eq(written(kMxfp4)));
  EXPECT_THAT(written(kMxfp8),
              ElementsAre("weight Float8_e4m3fn [45, 96]", "weight_scale Byte [45, 3]"));
  EXPECT_THAT(written(kBlocks),
              ElementsAre("weight Float8_e4m3fn [45, 96]", "weight_scale BFloat16 [2, 3]"));
}

// e2m1: 0 0.5 1 1.5 2 3 4 6, and 8 more for the sign; the first of a pair in the low half.
TEST(CompressedTensorsFloats, TwoCodesShareAByteWithTheFirstBelow) {
  const at::Tensor codes = at::tensor({1, 15, 2, 8, 4, 5, 11, 6}).to(at::kByte);
  for (const Kind& kind : {kNvfp4, kMxfp4}) {
    Result linear = make(kind);
    linear.set_part("codes", codes.repeat({45, 12}));
    Export run("compressed-tensors", kParams);
    run.add(linear);
    run.finish();
    const at::Tensor bytes = must(run.files().read(kLinear + ".weight_packed"));
    EXPECT_TRUE(
        at::equal(bytes, at::tensor({0xF1, 0x82, 0x54, 0x6B}).to(at::kByte).repeat({45, 12})));
    const Result back = must(run.decode(kLinear));
    EXPECT_TRUE(at::equal(back.part("codes"), linear.part("codes")));
    if (kind.weight != kMxfp4.weight) continue;
    const at::Tensor row = decode(back).select(0, 0).slice(0, 0, 8);
    const at::Tensor expected = at::tensor(at::ArrayRef<float>{0.5, -6, 1, -0.0, 2, 3, -1.5, 4});
    EXPECT_TRUE(at::equal(row / row[0] / 2, expected)) << row;
  }
}

// A byte e is 2^(e - 127); the number for a tensor of NVFP4 divides.
TEST(CompressedTensorsFloats, LevelsAreStoredAsReadersTakeThem) {
  Result powers = make(kMxfp4), nested = make(kNvfp4);
  powers.set_part("codes", at::full({45, 96}, 2, at::kByte));
  powers.set_part("scales", at::full({45, 3}, 130, at::kByte));
  EXPECT_TRUE(decode(powers).eq(8).all().item<bool>());
  nested.set_part("codes", at::full({45, 96}, 2, at::kByte));
  nested.set_part("scales", at::full({45, 6}, 3).to(at::kFloat8_e4m3fn));
  nested.set_part("outer_scales", at::full({1, 1}, 4.0, at::kFloat));
  EXPECT_TRUE(decode(nested).eq(0.75).all().item<bool>());
  Export run("compressed-tensors", kParams);
  run.add(nested);
  run.finish();
  EXPECT_EQ(must(run.files().read(kLinear + ".weight_global_scale")).item<float>(), 4);
}

std::string arguments(const Kind& kind, const char* side) {
  Export run("compressed-tensors", kParams);
  run.add(make(kind));
  run.finish();
  return to_json(group(run)[side], -1);
}

TEST(CompressedTensorsFloats, AreDescribedInTheKeysThatReadersKnow) {
  const std::string nvfp4 = R"("group_size":16,"num_bits":4,"observer":"minmax",)"
                            R"("observer_kwargs":{},"scale_dtype":"torch.float8_e4m3fn",)"
                            R"("strategy":"tensor_group","symmetric":true,"type":"float"})";
  const std::string head = R"({"actorder":null,"block_structure":null,"dynamic":)";
  EXPECT_EQ(arguments(kNvfp4Inputs, "weights"), head + "false," + nvfp4);
  EXPECT_EQ(arguments(kNvfp4Inputs, "input_activations"), head + "\"local\"," + nvfp4);
  EXPECT_EQ(arguments(kNvfp4, "input_activations"), "null");
  const auto powers = [&](int bits, bool dynamic) {
    return head + (dynamic ? "true" : "false") + R"(,"group_size":32,"num_bits":)" +
           std::to_string(bits) + R"(,"observer":)" + (dynamic ? "null" : "\"minmax\"") +
           R"(,"observer_kwargs":{},"scale_dtype":"torch.uint8","strategy":"group",)"
           R"("symmetric":true,"type":"float"})";
  };
  EXPECT_EQ(arguments(kMxfp4Inputs, "weights"), powers(4, false));
  EXPECT_EQ(arguments(kMxfp4Inputs, "input_activations"), powers(4, true));
  EXPECT_EQ(arguments(kMxfp8Inputs, "weights"), powers(8, false));
  EXPECT_EQ(arguments(kMxfp8Inputs, "input_activations"), powers(8, true));
  EXPECT_EQ(arguments(kBlocksInputs, "weights"),
            R"({"actorder":null,"block_structure":[32,32],"dynamic":false,"group_size":null,)"
            R"("num_bits":8,"observer":"minmax","observer_kwargs":{},"strategy":"block",)"
            R"("symmetric":true,"type":"float"})");
  EXPECT_THAT(arguments(kBlocksInputs, "input_activations"),
              HasSubstr(R"("group_size":32,"num_bits":8,"observer":null)"));
}

// --- what does not hold ---

// `part` with its first byte changed, read again.
absl::StatusOr<Result> changed(const Kind& kind, const std::string& part) {
  Export run("compressed-tensors", kParams);
  run.add(make(kind));
  run.finish();
  at::Tensor& tensor = run.store().tensors.at(kLinear + part);
  tensor = tensor.clone();
  static_cast<uint8_t*>(tensor.mutable_data_ptr())[0] ^= 1;
  return run.exporter().decode(kLinear, run.store(), run.config());
}

TEST(CompressedTensorsFloats, OneChangedBitChangesTheDigest) {
  const std::vector<std::pair<Kind, std::vector<std::string>>> cases = {
      {kNvfp4Inputs,
       {".weight_packed", ".weight_scale", ".weight_global_scale", ".input_global_scale"}},
      {kMxfp4, {".weight_packed", ".weight_scale"}},
      {kMxfp8, {".weight", ".weight_scale"}},
      {kBlocks, {".weight", ".weight_scale"}}};
  for (const auto& [kind, parts] : cases) {
    for (const std::string& part : parts) {
      at::manual_seed(7);
      const Result linear = make(kind);
      at::manual_seed(7);
      EXPECT_NE(digest(must(changed(kind, part))), digest(linear)) << kind.weight << part;
    }
  }
}

std::string message(const Kind& kind, const std::string& part,
                    const std::function<at::Tensor(const at::Tensor&)>& change) {
  Export run("compressed-tensors", kParams);
  run.add(make(kind));
  run.finish();
  at::Tensor& tensor = run.store().tensors.at(kLinear + part);
  tensor = change(tensor);
  if (!tensor.defined()) run.store().tensors.erase(kLinear + part);
  const auto result = run.exporter().decode(kLinear, run.store(), run.config());
  return result.ok() ? "decoded" : std::string(result.status().message());
}

TEST(CompressedTensorsFloats, DamageIsReportedByTensor) {
  const auto missing = [](const at::Tensor&) { return at::Tensor(); };
  const auto cut = [](const at::Tensor& t) { return t.narrow(0, 0, t.size(0) - 1); };
  const auto floats = [](const at::Tensor& t) { return t.to(at::kFloat); };
  EXPECT_EQ(message(kNvfp4, ".weight_global_scale", missing),
            kLinear + ".weight_global_scale is missing, expected [1]");
  EXPECT_THAT(message(kNvfp4, ".weight_global_scale", [](auto& t) { return t * -1; }),
              HasSubstr("outer_scales is zero or negative"));
  EXPECT_THAT(message(kNvfp4, ".weight_global_scale", [](auto& t) { return t / 0; }),
              HasSubstr("outer_scales is not finite"));
  EXPECT_THAT(message(kNvfp4, ".weight_scale", floats),
              HasSubstr("weight_scale is Float, expected Float8_e4m3fn"));
  EXPECT_THAT(message(kNvfp4Inputs, ".input_global_scale", missing),
              HasSubstr("input_global_scale is missing"));
  EXPECT_THAT(message(kMxfp4, ".weight_scale", floats), HasSubstr("expected Byte"));
  EXPECT_THAT(message(kMxfp4, ".weight_packed", cut),
              HasSubstr("weight_scale is [45, 3], expected [44, 3]"));
  EXPECT_THAT(message(kMxfp8, ".weight", floats), HasSubstr("expected Float8_e4m3fn"));
  EXPECT_THAT(message(kBlocks, ".weight_scale", cut),
              HasSubstr("weight_scale is [1, 3], expected [2, 3]"));
}

LinearSummary planned(const std::string& name, const Kind& kind, int64_t out, int64_t in) {
  LinearSummary linear = kept(name, out, in);
  linear.kept_by = "";
  linear.weight = scheme(kind.weight);
  if (!kind.activation.empty()) linear.activation = inputs(kind.activation).codec;
  return linear;
}

std::string refusal(const Kind& kind, int64_t in = 64) {
  const auto exporter = must(loader().exporter("compressed-tensors", Params(kParams)));
  return std::string(exporter->check({planned(kLinear, kind, 64, in)}).message());
}

TEST(CompressedTensorsFloats, RefusedBeforeTheyCostAnything) {
  EXPECT_EQ(refusal(kNvfp4, 72),
            kLinear +
                ": compressed-tensors cannot hold nvfp4: a row of 72 inputs is no multiple of 16; "
                "keep this linear");
  EXPECT_THAT(refusal(kMxfp4, 48), HasSubstr("48 inputs is no multiple of 32"));
  EXPECT_THAT(refusal(kMxfp8, 48), HasSubstr("48 inputs is no multiple of 32"));
  EXPECT_EQ(refusal(kBlocks, 48), "") << "blocks may be cut";
  EXPECT_THAT(refusal(kBlocksInputs, 48), HasSubstr("no multiple of a group of"));
  EXPECT_THAT(refusal({kMxfp8.weight,
                       R"({"format": "mxfp8", "dynamic": true, "scale_rule": "floor"})", ""}),
              HasSubstr("its readers scale inputs by scale_rule = \"even\"; use that"));
  EXPECT_THAT(refusal({R"({"format": "mxfp4", "scale_rule": "four-thirds"})", "", ""}),
              HasSubstr("powers of two, not thirds of them"));
  EXPECT_THAT(refusal({R"({"format": "nvfp4", "decoded": "fp32"})", "", ""}),
              HasSubstr("round code times scale to bf16; use decoded = \"bf16\""));
  EXPECT_THAT(refusal({R"({"format": "mxfp8", "element": "e5m2"})", "", ""}),
              HasSubstr("its fp8 numbers are e4m3"));
  EXPECT_THAT(refusal({kNvfp4.weight, R"({"format": "nvfp4", "dynamic": true})", ""}),
              HasSubstr("write dynamic = false"));
  EXPECT_THAT(refusal({kNvfp4.weight, kBlocksInputs.activation, ""}),
              HasSubstr("weights and activations in floats have one format"));
  EXPECT_THAT(refusal({R"({"format": "fp8-e4m3", "granularity": "group", "group": 32})", "", ""}),
              HasSubstr("fp8 weights take one scale per channel, block or tensor"));
  for (const char* format : {"fp4", "fp6-e2m3", "mxfp6", "nf4", "iq4_nl"})
    EXPECT_THAT(refusal({absl::StrCat(R"({"format": ")", format, R"("})"), "", ""}),
                HasSubstr(absl::StrCat("it has no place for \"", format, "\"")));
}

TEST(CompressedTensorsFloats, ReadersThatDifferOnBlocksAreNamed) {
  const auto exporter = must(loader().exporter("compressed-tensors", Params(kParams)));
  const auto said = [&](const Kind& kind, int64_t out) {
    const RemarkLog log;
    EXPECT_TRUE(exporter->check({planned(kLinear, kind, out, 64)}).ok());
    return log.texts();
  };
  EXPECT_THAT(said(kBlocks, 64), IsEmpty());
  EXPECT_THAT(said(kBlocksInputs, 64), IsEmpty());
  EXPECT_THAT(said(kBlocks, 45),
              ElementsAre(HasSubstr(kLinear + " has 45 rows, blocks of 32): vLLM 0.32 refuses")));
  EXPECT_THAT(said({kBlocks.weight, R"({"format": "fp8-e4m3"})", ""}, 64),
              ElementsAre(HasSubstr("takes a scale for 32 columns of a token instead")));
}

TEST(CompressedTensorsFloats, AQuantizedHeadIsNamedAndNotIgnored) {
  Export run("compressed-tensors", kParams);
  const Result linear = quantized(kLinear, 32, 64, scheme(kNvfp4.weight));
  const Result head = quantized("lm_head", 48, 64, scheme(kMxfp8.weight));
  run.add(linear);
  run.add(head);
  run.finish();
  const Value& block = run.config()["quantization_config"];
  EXPECT_EQ(to_json(block["ignore"], -1), "[]");
  EXPECT_EQ(*block["format"].text(), "mixed-precision");
  EXPECT_EQ(to_json(block["config_groups"]["group_1"]["targets"], -1), R"(["lm_head"])");
  EXPECT_EQ(digest(must(run.decode("lm_head"))), digest(head));
  EXPECT_EQ(digest(must(run.decode(kLinear))), digest(linear));
}

}  // namespace
}  // namespace swage
