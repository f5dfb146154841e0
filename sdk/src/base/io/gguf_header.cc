#include "swage/io/gguf_header.h"

#include <xxhash.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gguf_reader.h"
#include "posix_file.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr uint32_t kMagic = 0x46554747, kVersion = 3;
constexpr uint64_t kMaxKeys = 1 << 16, kMaxTensors = 1 << 20;
struct TypeInfo {
  uint32_t id;
  const char* name;
  GgufBlock block;
};
constexpr TypeInfo kTypes[] = {
    {kGgufF32, "F32", {1, 4}},      {kGgufF16, "F16", {1, 2}},   {2, "Q4_0", {32, 18}},
    {3, "Q4_1", {32, 20}},          {6, "Q5_0", {32, 22}},       {7, "Q5_1", {32, 24}},
    {8, "Q8_0", {32, 34}},          {10, "Q2_K", {256, 84}},     {11, "Q3_K", {256, 110}},
    {12, "Q4_K", {256, 144}},       {13, "Q5_K", {256, 176}},    {14, "Q6_K", {256, 210}},
    {20, "IQ4_NL", {32, 18}},       {kGgufBF16, "BF16", {1, 2}}, {39, "MXFP4", {32, 17}},
    {kGgufNvfp4, "NVFP4", {64, 36}}};

// Types that are not read, for messages (ggml's numbers).
constexpr std::pair<uint32_t, const char*> kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},
    {25, "I16"},   {26, "I32"},   {27, "I64"},     {28, "F64"},    {29, "IQ1_M"},
    {34, "TQ1_0"}, {35, "TQ2_0"}, {41, "Q1_0"},    {42, "Q2_0"}};

const TypeInfo* find_type(uint32_t type) {
  const auto* it = std::find_if(std::begin(kTypes), std::end(kTypes),
                                [&](const TypeInfo& t) { return t.id == type; });
  return it == std::end(kTypes) ? nullptr : it;
}

absl::Status read_metadata(GgufReader* reader, uint64_t keys, Value::Table* metadata) {
  for (uint64_t i = 0; i < keys; ++i) {
    SWAGE_ASSIGN_OR_RETURN(std::string key, reader->text());
    SWAGE_ASSIGN_OR_RETURN(const uint32_t type, reader->number<uint32_t>());
    SWAGE_ASSIGN_OR_RETURN(Value value, reader->value(type));
    if (!metadata->emplace(key, std::move(value)).second) {
      return reader->error(absl::StrCat("the key \"", key, "\" stands there twice"));
    }
  }
  return absl::OkStatus();
}

// Name, shape, type and the offset within the data section (in `begin`).
absl::StatusOr<GgufTensor> read_tensor(GgufReader* reader) {
  GgufTensor tensor;
  SWAGE_ASSIGN_OR_RETURN(tensor.name, reader->text());
  SWAGE_ASSIGN_OR_RETURN(const uint32_t dimensions, reader->number<uint32_t>());
  const std::string what = absl::StrCat("tensor \"", tensor.name, "\": ");
  if (dimensions < 1 || dimensions > 4) {
    return reader->error(absl::StrCat(what, dimensions, " dimensions, expected 1 to 4"));
  }
  int64_t values = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    SWAGE_ASSIGN_OR_RETURN(const uint64_t size, reader->number<uint64_t>());
    if (size == 0 || size > static_cast<uint64_t>((int64_t{1} << 48) / values)) {
      return reader->error(absl::StrCat(what, "a dimension of ", size));
    }
    values *= static_cast<int64_t>(size);
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  SWAGE_ASSIGN_OR_RETURN(tensor.type, reader->number<uint32_t>());
  const GgufBlock block = gguf_block(tensor.type);
  if (block.values == 0) {
    return reader->error(
        absl::StrCat(what, "values of type ", gguf_type_name(tensor.type),
                     " are not read; give the safetensors checkpoint, or a file of another type"));
  }
  if (tensor.shape.size() == 1 && block.values != 1) {
    return reader->error(absl::StrCat(what, "one dimension in type ", gguf_type_name(tensor.type),
                                      ", expected plain numbers"));
  }
  if (tensor.shape.back() % block.values != 0) {
    return reader->error(absl::StrCat(what, "rows of ", tensor.shape.back(),
                                      " values, expected a multiple of ", block.values, " for ",
                                      gguf_type_name(tensor.type)));
  }
  SWAGE_ASSIGN_OR_RETURN(const uint64_t offset, reader->number<uint64_t>());
  if (offset > static_cast<uint64_t>(reader->size())) {
    return reader->error(absl::StrCat(what, "offset ", offset, " leaves the file"));
  }
  tensor.begin = static_cast<int64_t>(offset);
  tensor.end = tensor.begin + values / block.values * block.bytes;
  return tensor;
}

// Makes offsets places in the file. Tensors must follow each other, each padded to the alignment.
absl::Status place_tensors(const GgufReader& reader, int64_t alignment,
                           std::vector<GgufTensor>* tensors) {
  const auto padded = [&](int64_t at) { return (at + alignment - 1) / alignment * alignment; };
  const int64_t base = padded(reader.position());
  int64_t expected = 0;
  for (GgufTensor& tensor : *tensors) {
    if (tensor.begin != expected) {
      return reader.error(absl::StrCat("tensor \"", tensor.name, "\" lies at offset ", tensor.begin,
                                       ", expected ", expected));
    }
    expected = padded(tensor.end);
    tensor.begin += base;
    tensor.end += base;
    if (tensor.end > reader.size()) {
      return reader.error(absl::StrCat("tensor \"", tensor.name, "\" ends at byte ", tensor.end,
                                       " of a file of ", reader.size(),
                                       " bytes: the file is truncated"));
    }
  }
  return absl::OkStatus();
}

// Of the matrices; vectors and routers are F32 in every file.
StoredType storage_of(const GgufFile& file) {
  std::set<uint32_t> types;
  for (const GgufPlan& plan : file.plans) {
    if (plan.plain || plan.shape.size() < 2) continue;
    for (const GgufSource& source : plan.sources) {
      const auto tensor = file.tensors.find(source.name);
      if (tensor != file.tensors.end()) types.insert(tensor->second.type);
    }
  }
  if (types.count(kGgufF32) > 0) return StoredType::kF32;
  return types == std::set<uint32_t>{kGgufF16} ? StoredType::kF16 : StoredType::kBF16;
}

const char* torch_dtype(StoredType storage) {
  return storage == StoredType::kF32   ? "float32"
         : storage == StoredType::kF16 ? "float16"
                                       : "bfloat16";
}

absl::StatusOr<std::string> header_digest(const std::string& path, int64_t header_bytes,
                                          int64_t size) {
  std::ifstream stream(path, std::ios::binary);
  std::string header(static_cast<size_t>(header_bytes), '\0');
  if (!stream.read(header.data(), header_bytes)) return absl::DataLossError("reading broke off");
  const XXH128_hash_t hash =
      XXH3_128bits_withSeed(header.data(), header.size(), static_cast<XXH64_hash_t>(size));
  return absl::StrCat(absl::Hex(hash.high64, absl::kZeroPad16),
                      absl::Hex(hash.low64, absl::kZeroPad16));
}

// Values of a small tensor that says how others are meant.
absl::StatusOr<std::vector<float>> values_of(const GgufFile& file, const std::string& name) {
  constexpr int64_t kMaxBytes = 1 << 20;
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end() || found->second.type != kGgufF32 ||
      found->second.end - found->second.begin > kMaxBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\" is no small one in F32, as is expected"));
  const GgufTensor& tensor = found->second;
  SWAGE_ASSIGN_OR_RETURN(const InputFile input, InputFile::open(file.paths[tensor.file]));
  std::vector<float> values(static_cast<size_t>((tensor.end - tensor.begin) / 4));
  SWAGE_RETURN_IF_ERROR(input.read(tensor.begin, tensor.end - tensor.begin, values.data()));
  return values;
}

// Factors of NVFP4 matrices (and of their inputs, which are not used here) are no tensors of the
// model.
bool is_factor(const GgufFile& file, const std::string& name) {
  for (const absl::string_view end : {".scale", ".input_scale"}) {
    absl::string_view base = name;
    if (!absl::ConsumeSuffix(&base, end)) continue;
    const auto found = file.tensors.find(absl::StrCat(base, ".weight"));
    if (found != file.tensors.end() && found->second.type == kGgufNvfp4) return true;
  }
  return false;
}

absl::Status understand(GgufFile* file) {
  GgufContents contents;
  contents.metadata = file->metadata;
  for (const auto& [name, tensor] : file->tensors)
    if (!is_factor(*file, name)) contents.tensors[name] = tensor.shape;
  contents.values = [file](const std::string& name) { return values_of(*file, name); };
  SWAGE_ASSIGN_OR_RETURN(file->config, config_of_gguf(contents));
  if (file->config.table() == nullptr) return absl::InternalError("config.json is no table");
  SWAGE_ASSIGN_OR_RETURN(file->plans, plan_hugging_face(contents, file->config));
  file->storage = storage_of(*file);
  (*file->config.table())["torch_dtype"] = torch_dtype(file->storage);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> alignment_of(const GgufReader& reader, const Value& metadata) {
  const int64_t alignment = metadata.i64("general.alignment", 32);
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) {
    return reader.error(absl::StrCat("an alignment of ", alignment, ", expected a power of two"));
  }
  return alignment;
}

// Is it the part of that number?
absl::Status check_part(const Value& metadata, size_t number, const std::string& path) {
  const int64_t said = metadata.i64("split.no", static_cast<int64_t>(number));
  if (said == static_cast<int64_t>(number)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": \"split.no\" is ", said, ", expected ", number));
}

// Adds what one file holds; metadata of the first one counts.
absl::Status read_part(const std::string& path, GgufFile* file) {
  SWAGE_ASSIGN_OR_RETURN(GgufReader reader, GgufReader::open(path));
  SWAGE_ASSIGN_OR_RETURN(const uint32_t magic, reader.number<uint32_t>());
  if (magic != kMagic)
    return reader.error(
        "this is no GGUF file; a model is the folder of a Hugging Face checkpoint or a GGUF file");
  SWAGE_ASSIGN_OR_RETURN(const uint32_t version, reader.number<uint32_t>());
  if (version == __builtin_bswap32(kVersion)) {
    return reader.error(
        "this is a GGUF file of the other byte order (big endian), which is not read; convert it "
        "with llama.cpp's gguf_convert_endian.py");
  }
  if (version != kVersion)
    return reader.error(absl::StrCat("GGUF version ", version, ", expected 3"));
  SWAGE_ASSIGN_OR_RETURN(const uint64_t count, reader.number<uint64_t>());
  SWAGE_ASSIGN_OR_RETURN(const uint64_t keys, reader.number<uint64_t>());
  if (keys > kMaxKeys || count > kMaxTensors) {
    return reader.error(absl::StrCat(count, " tensors and ", keys, " keys, at most ", kMaxTensors,
                                     " and ", kMaxKeys, " are read"));
  }
  Value::Table metadata;
  SWAGE_RETURN_IF_ERROR(read_metadata(&reader, keys, &metadata));
  std::vector<GgufTensor> tensors;
  for (uint64_t i = 0; i < count; ++i) {
    SWAGE_ASSIGN_OR_RETURN(GgufTensor tensor, read_tensor(&reader));
    tensors.push_back(std::move(tensor));
  }
  const Value own(std::move(metadata));
  SWAGE_ASSIGN_OR_RETURN(const int64_t alignment, alignment_of(reader, own));
  SWAGE_RETURN_IF_ERROR(place_tensors(reader, alignment, &tensors));
  SWAGE_ASSIGN_OR_RETURN(const std::string digest,
                         header_digest(path, reader.position(), reader.size()));
  file->digest += digest;
  SWAGE_RETURN_IF_ERROR(check_part(own, file->paths.size(), path));
  for (GgufTensor& tensor : tensors) {
    tensor.file = file->paths.size();
    const std::string name = tensor.name;
    if (!file->tensors.emplace(name, std::move(tensor)).second)
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor \"", name, "\" stands there twice"));
  }
  if (file->paths.empty()) file->metadata = own;
  file->paths.push_back(path);
  return absl::OkStatus();
}

absl::StatusOr<GgufFile> read_checked(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(std::vector<std::string> paths, gguf_files(path));
  if (paths.empty()) paths = {path};
  GgufFile file;
  for (const std::string& part : paths) SWAGE_RETURN_IF_ERROR(read_part(part, &file));
  const int64_t parts = file.metadata.i64("split.count", 1);
  if (parts > 1 && parts != static_cast<int64_t>(paths.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": \"split.count\" is ", parts, ", and there are ", paths.size(),
                     " files; parts of a split file are called NAME-00001-of-00002.gguf"));
  }
  const int64_t all = file.metadata.i64("split.tensors.count", -1);
  if (all >= 0 && all != static_cast<int64_t>(file.tensors.size())) {
    return absl::DataLossError(absl::StrCat(path, ": \"split.tensors.count\" is ", all,
                                            ", and the parts hold ", file.tensors.size(),
                                            " tensors"));
  }
  SWAGE_RETURN_IF_ERROR(annotate(understand(&file), path));
  return file;
}

}  // namespace

GgufBlock gguf_block(uint32_t type) {
  const TypeInfo* info = find_type(type);
  return info == nullptr ? GgufBlock{} : info->block;
}

std::string gguf_type_name(uint32_t type) {
  const TypeInfo* info = find_type(type);
  if (info != nullptr) return info->name;
  for (const auto& [id, name] : kOtherTypes) {
    if (id == type) return name;
  }
  return absl::StrCat("number ", type, " (unknown)");
}

absl::StatusOr<GgufFile> read_gguf(const std::string& path) {
  try {
    return read_checked(path);
  } catch (const std::invalid_argument& error) {  // a key of another type
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
}

absl::StatusOr<Header> read_gguf_header(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const GgufFile file, read_gguf(path));
  SWAGE_ASSIGN_OR_RETURN(const std::vector<GgufOffer> offers, gguf_offers(file, GgufView::kFloats));
  Header header;
  int64_t at = 0;
  for (const GgufOffer& offer : offers) {
    int64_t bytes = byte_size(offer.type);
    for (const int64_t size : offer.shape) bytes *= size;
    header[offer.name] = {offer.type, offer.shape, at, at + bytes};
    at += bytes;
  }
  return header;
}

}  // namespace swage::io
