#include "core/config/stored_form.h"

#include <gmock/gmock.h>

namespace swage {
namespace {

using ::testing::HasSubstr;

io::Header header_of(const std::vector<std::pair<const char*, io::StoredType>>& tensors) {
  io::Header header;
  for (const auto& [name, type] : tensors) header[name] = {type, {8, 8}, 0, 0};
  return header;
}

Value config_of(Value::Table quantization) {
  return Value::Table{{"quantization_config", std::move(quantization)}};
}

const io::Header kFloats = header_of(
    {{"model.up.weight", io::StoredType::kBF16}, {"model.norm.weight", io::StoredType::kF32}});

TEST(StoredForm, FloatsHaveNoProblem) {
  for (const Value& config :
       {Value(Value::Table{}), Value(Value::Table{{"quantization_config", Value()}})}) {
    const StoredForm form = stored_form(config, kFloats);
    EXPECT_FALSE(form.compressed);
    EXPECT_EQ(form.problem, "");
  }
}

TEST(StoredForm, NamesTheMethodAndItsBits) {
  const std::pair<Value, std::string> cases[] = {
      {config_of({{"quant_method", "gptq"}, {"bits", int64_t{4}}}),
       "GPTQ (quant_method \"gptq\", 4 bits)"},
      {config_of({{"quant_method", "awq"}, {"w_bit", int64_t{4}}}),
       "AWQ (quant_method \"awq\", 4 bits)"},
      {config_of({{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}),
       "bitsandbytes (quant_method \"bitsandbytes\", 4 bits)"},
      {config_of({{"quant_method", "modelopt"}, {"quant_algo", "NVFP4"}}),
       "ModelOpt (quant_method \"modelopt\", NVFP4)"},
      {config_of({{"quant_method", "of tomorrow"}}), "of tomorrow (quant_method \"of tomorrow\")"},
      {config_of({{"quant_method", int64_t{3}}}), "GPTQ or AWQ"}};
  const io::Header header = header_of({{"model.up.qweight", io::StoredType::kI32}});
  for (const auto& [config, name] : cases) {
    const StoredForm form = stored_form(config, header);
    EXPECT_TRUE(form.compressed);
    EXPECT_EQ(form.name, name);
    EXPECT_THAT(form.problem, HasSubstr("is compressed already with " + name));
  }
}

TEST(StoredForm, PackedWeightsAreSeenWithoutConfig) {
  for (const char* tensor :
       {"model.up.qweight", "model.up.weight_packed", "model.up.weight.absmax"}) {
    const StoredForm form =
        stored_form(Value(Value::Table{}), header_of({{tensor, io::StoredType::kI32}}));
    EXPECT_TRUE(form.compressed);
    EXPECT_THAT(form.problem, HasSubstr(tensor));
  }
  EXPECT_TRUE(stored_form(Value(Value::Table{}), header_of({{"up.weight", io::StoredType::kI8}}))
                  .compressed);
}

TEST(StoredForm, ManifestsSayHowElseCheckpointsAreKnown) {
  const std::vector<Catalog::FormSign> signs = {{"mlx", "quantization", {}}, {"hqq", "", {".W_q"}}};
  const io::Header words = header_of({{"up.weight", io::StoredType::kU32}}),
                   halves = header_of({{"up.W_q", io::StoredType::kU8}});
  const Value table = Value::Table{{"bits", int64_t{4}}, {"group_size", int64_t{64}}};
  const Value config = Value::Table{{"quantization", table}, {"quantization_config", table}};
  const StoredForm keyed = stored_form(config, words, signs);
  EXPECT_TRUE(keyed.compressed);
  EXPECT_EQ(keyed.method, "mlx");
  EXPECT_EQ(keyed.name, "mlx (\"quantization\" in config.json, 4 bits)");
  EXPECT_EQ(stored_form(config, words).method, "");
  EXPECT_THAT(stored_form(config, kFloats, signs).problem,
              HasSubstr("remove quantization from config.json"));
  const StoredForm marked = stored_form(Value(Value::Table{}), halves, signs);
  EXPECT_TRUE(marked.compressed);
  EXPECT_EQ(marked.method, "hqq");
  EXPECT_EQ(marked.name, "HQQ (up.W_q)");
  // What quantization_config names comes first.
  const Value named = Value::Table{{"quantization", table},
                                   {"quantization_config", Value::Table{{"quant_method", "awq"}}}};
  EXPECT_EQ(stored_form(named, words, signs).method, "awq");
}

TEST(StoredForm, AKeyThatWasLeftOverIsSaidToBe) {
  EXPECT_THAT(stored_form(config_of({{"quant_method", "awq"}}), kFloats).problem,
              HasSubstr("(quant_method \"awq\"), but all weights are in floats"));
  EXPECT_THAT(stored_form(config_of({}), kFloats).problem,
              HasSubstr("remove quantization_config from config.json"));
}

TEST(StoredForm, Fp8WithoutItsKeyIsNoFloat) {
  io::Header header = header_of({{"model.up.weight", io::StoredType::kF8E4M3}});
  EXPECT_THAT(stored_form(Value(Value::Table{}), header).problem, HasSubstr("there are no scales"));
  header["model.up.weight_scale"] = {io::StoredType::kF32, {1}, 0, 0};
  EXPECT_THAT(stored_form(Value(Value::Table{}), header).problem, HasSubstr("put back the key"));
}

}  // namespace
}  // namespace swage
