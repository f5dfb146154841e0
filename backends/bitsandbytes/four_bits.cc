#include "four_bits.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "swage/quant/scalar_grid.h"
#include "swage/status.h"
#include "swage/store/integer_form.h"
#include "swage/store/packing.h"

namespace swage::bitsandbytes {
namespace {

using Module = store::StoredModule;

constexpr char kWeight[] = "weight", kMap[] = "weight.quant_map", kOuter[] = "weight.nested_absmax",
               kOuterMap[] = "weight.nested_quant_map";
constexpr int64_t kColumns = 64, kTogether = 256, kMapSize = 16, kByteMapSize = 256,
                  kGreatestText = 65536;
constexpr std::pair<const char*, const char*> kTypes[] = {{"nf4", "nf4"}, {"fp4", "bnb-fp4"}};

std::string state_part(const char* type) {
  return absl::StrCat("weight.quant_state.bitsandbytes__", type);
}

// The 256 numbers that bytes stand for, as the codec has them.
absl::StatusOr<at::Tensor> byte_map(const Codec& nested) {
  SWAGE_ASSIGN_OR_RETURN(const quant::ScalarGrid grid,
                         nested.grid({{"scales", at::arange(kByteMapSize, at::kByte).view({1, -1})},
                                      {"outer_scales", at::ones({1, 1})},
                                      {"scale_offset", at::zeros({1})}},
                                     1, kByteMapSize * kColumns));
  return grid.scale.flatten().contiguous();
}

absl::StatusOr<at::Tensor> code_map(const Codec& codec) {
  Parts levels;
  levels["scales"] = at::ones({1, 1});
  if (is_nested(codec)) {
    levels = {{"scales", at::zeros({1, 1}, at::kByte)},
              {"outer_scales", at::ones({1, 1})},
              {"scale_offset", at::ones({1})}};
  }
  SWAGE_ASSIGN_OR_RETURN(const quant::ScalarGrid grid, codec.grid(levels, 1, kColumns));
  return at::tensor(at::ArrayRef<float>(grid.table->values(), kMapSize));
}

at::Tensor bytes_of(const std::string& text) {
  const auto* const first = reinterpret_cast<const uint8_t*>(text.data());
  return at::tensor(at::ArrayRef<uint8_t>(first, text.size())).to(at::kByte);
}

// What the text of a module says.
struct State {
  int64_t block = 0, out = 0, in = 0;
  at::ScalarType type = at::kFloat;
  double offset = 0;
};

absl::StatusOr<std::string> read_text(const Module& module, const char* part) {
  SWAGE_ASSIGN_OR_RETURN(const Module::Shape shape, module.shape(part, 1));
  if (shape[0] > kGreatestText)
    return module.wrong(part, absl::StrCat(shape[0], " bytes"), "a short text");
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, module.read(part, {at::kByte}, shape));
  const at::Tensor whole = bytes.contiguous();
  return std::string(reinterpret_cast<const char*>(whole.const_data_ptr<uint8_t>()),
                     static_cast<size_t>(shape[0]));
}

absl::StatusOr<State> read_state(const Module& module, const char* type, bool nested) {
  const std::string part = state_part(type);
  SWAGE_ASSIGN_OR_RETURN(const std::string text, read_text(module, part.c_str()));
  SWAGE_ASSIGN_OR_RETURN(const Value said, parse_json(text, module.full(part.c_str())));
  const auto wrong = [&](const std::string& key, const std::string& expected) {
    return module.wrong(part.c_str(), absl::StrCat(key, " ", to_json(said[key], -1)), expected);
  };
  State state;
  const std::string* const kind = said["quant_type"].text();
  if (kind == nullptr || *kind != type) return wrong("quant_type", absl::StrCat("\"", type, "\""));
  const std::string* const dtype = said["dtype"].text();
  state.type = dtype != nullptr ? store::dtype_named(*dtype) : at::ScalarType::Undefined;
  if (state.type != at::kFloat && state.type != at::kHalf && state.type != at::kBFloat16)
    return wrong("dtype", "\"bfloat16\", \"float16\" or \"float32\"");
  const int64_t* const block = said["blocksize"].integer();
  if (block == nullptr || *block < 1 || *block > Module::kGreatestSide)
    return wrong("blocksize", "how many entries share a scale");
  state.block = *block;
  const Value::List* const sizes = said["shape"].list();
  const auto side = [&](size_t i) {
    const int64_t* const size =
        sizes != nullptr && sizes->size() == 2 ? (*sizes)[i].integer() : nullptr;
    return size != nullptr && *size >= 1 && *size <= Module::kGreatestSide ? *size : 0;
  };
  state.out = side(0);
  state.in = side(1);
  if (state.out == 0 || state.in == 0) return wrong("shape", "rows and columns");
  if (!nested) return state;
  const int64_t* const outer = said["nested_blocksize"].integer();
  if (outer == nullptr || *outer != kTogether) return wrong("nested_blocksize", "256");
  const std::string* const outer_type = said["nested_dtype"].text();
  if (outer_type == nullptr || *outer_type != "float32")
    return wrong("nested_dtype", "\"float32\"");
  if (!said["nested_offset"].number(&state.offset)) return wrong("nested_offset", "a number");
  return state;
}

// Bytes may lie in tensors of any dtype (bnb_4bit_quant_storage).
absl::StatusOr<at::Tensor> read_codes(const Module& module, const State& state) {
  SWAGE_ASSIGN_OR_RETURN(const Module::Shape shape, module.shape(kWeight, 2));
  SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, module.tensors().dtype(module.full(kWeight)));
  if (state.out > Module::kGreatestSide / state.in || state.out * state.in % 2 != 0)
    return module.wrong(kWeight, absl::StrCat("of ", state.out, " x ", state.in, " codes"),
                        "an even number of at most 2^40");
  const int64_t bytes = state.out * state.in / 2;
  const auto width = static_cast<int64_t>(c10::elementSize(type));
  if (shape[1] != 1 || shape[0] != bytes / width || bytes % width != 0)
    return module.wrong(kWeight,
                        absl::StrCat("[", shape[0], ", ", shape[1], "] of ", c10::toString(type)),
                        absl::StrCat(bytes, " bytes for ", state.out, " x ", state.in, " codes"));
  SWAGE_ASSIGN_OR_RETURN(
      const at::Tensor stored,
      module.read(kWeight,
                  {at::kByte, at::kChar, at::kFloat, at::kHalf, at::kBFloat16, at::kDouble},
                  shape));
  return store::unpack_pairs(stored.contiguous().view(at::kByte).view({-1, 1}))
      .flip(1)
      .reshape({state.out, state.in});
}

std::shared_ptr<const Codec> codec_of(const char* type, bool nested, at::ScalarType decoded) {
  Scheme scheme;
  for (const auto& [name, format] : kTypes) {
    if (std::string(name) == type) scheme.format = format;
  }
  scheme.keys = {{"double_quant", nested},
                 {"decoded", decoded == at::kBFloat16 ? "bf16"
                             : decoded == at::kHalf   ? "fp16"
                                                      : "fp32"}};
  return *make_codec(scheme);
}

// What no codec of ours is: blocks of other sizes, or that run over the ends of rows, and tables of
// the file's own.
Result dense(const Module& module, const State& state, const at::Tensor& codes,
             const at::Tensor& map, const at::Tensor& scales) {
  const at::Tensor spread =
      scales.flatten().repeat_interleave(state.block).narrow(0, 0, state.out * state.in);
  const at::Tensor values = map.index_select(0, codes.flatten().to(at::kInt)) * spread;
  return dense_result(module.name(), values.view({state.out, state.in}).to(state.type));
}

// Levels of a module, as parts of the codec, and what they come to.
struct Levels {
  Parts parts;
  at::Tensor scales;  // fp32, one a block
  bool known = true;  // bytes stand for the codec's numbers
};

absl::StatusOr<Levels> read_levels(const Module& module, const State& state, int64_t blocks,
                                   const Codec& codec) {
  Levels levels;
  if (!is_nested(codec)) {
    SWAGE_ASSIGN_OR_RETURN(levels.scales, module.read(kAbsmax, {at::kFloat}, {blocks}));
    levels.parts["scales"] = levels.scales;
    return levels;
  }
  const int64_t pieces = (blocks + kTogether - 1) / kTogether;
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, module.read(kAbsmax, {at::kByte}, {blocks}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor outer, module.read(kOuter, {at::kFloat}, {pieces}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor map,
                         module.read(kOuterMap, {at::kFloat}, {kByteMapSize}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor own, byte_map(codec));
  const at::Tensor offset = at::tensor(at::ArrayRef<float>{static_cast<float>(state.offset)});
  levels.known = at::equal(map, own);
  levels.scales = map.index_select(0, bytes.to(at::kInt)) *
                      outer.repeat_interleave(kTogether).narrow(0, 0, blocks) +
                  offset;
  levels.parts = {
      {"scales", bytes}, {"outer_scales", outer.view({pieces, 1})}, {"scale_offset", offset}};
  return levels;
}

}  // namespace

const char* quant_type(const Codec& codec) {
  for (const auto& [name, format] : kTypes) {
    if (codec.format() == format) return name;
  }
  return nullptr;
}

bool is_nested(const Codec& codec) {
  return Value(codec.scheme().keys).flag("double_quant", false);
}

at::ScalarType decoded_type(const Codec& codec) {
  return codec.decoded_type({{"scales", at::ones({1, 1})}});
}

absl::Status write_four_bits(const Result& linear, TensorSink& sink) {
  const Codec& codec = *linear.codec();
  const auto put = [&](const std::string& part, const at::Tensor& tensor) {
    return sink.put(absl::StrCat(linear.name(), ".", part), tensor);
  };
  SWAGE_RETURN_IF_ERROR(
      put(kWeight, store::pack_pairs(linear.part("codes").reshape({-1, 2}).flip(1).contiguous())));
  SWAGE_RETURN_IF_ERROR(put(kAbsmax, linear.part("scales").flatten().contiguous()));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor map, code_map(codec));
  SWAGE_RETURN_IF_ERROR(put(kMap, map));
  Value::Table state = {{"quant_type", quant_type(codec)},
                        {"blocksize", kColumns},
                        {"dtype", store::dtype_name(decoded_type(codec))},
                        {"shape", Value::List{linear.out(), linear.in()}}};
  if (is_nested(codec)) {
    SWAGE_RETURN_IF_ERROR(put(kOuter, linear.part("outer_scales").flatten().contiguous()));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor bytes, byte_map(codec));
    SWAGE_RETURN_IF_ERROR(put(kOuterMap, bytes));
    state["nested_blocksize"] = kTogether;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(linear.part("scale_offset").item<float>());
  }
  return put(state_part(quant_type(codec)), bytes_of(to_json(Value(std::move(state)), -1)));
}

absl::StatusOr<Result> read_four_bits(const Module& module) {
  const char* type = nullptr;
  for (const auto& [name, format] : kTypes) {
    if (module.has(state_part(name).c_str())) type = name;
  }
  if (type == nullptr)
    return module.wrong("weight.quant_state.bitsandbytes__nf4", "missing",
                        "a text that says how the weight is stored (or one of __fp4)");
  const bool nested = module.has(kOuter);
  SWAGE_ASSIGN_OR_RETURN(const State state, read_state(module, type, nested));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes, read_codes(module, state));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor map, module.read(kMap, {at::kFloat}, {kMapSize}));
  const auto codec = codec_of(type, nested, state.type);
  const int64_t blocks = (state.out * state.in + state.block - 1) / state.block;
  SWAGE_ASSIGN_OR_RETURN(Levels levels, read_levels(module, state, blocks, *codec));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor own, code_map(*codec));
  if (!levels.known || !at::equal(map, own) || state.block != kColumns || state.in % kColumns != 0)
    return dense(module, state, codes, map, levels.scales);
  levels.parts["scales"] = levels.parts["scales"].view({state.out, state.in / kColumns});
  levels.parts["codes"] = codes;
  return Result(module.name(), codec, state.out, state.in, std::move(levels.parts));
}

}  // namespace swage::bitsandbytes
