// Writing: one file from tensors in memory, or a whole checkpoint copied tensor by tensor.
#include <algorithm>
#include <filesystem>
#include <tuple>

#include "../base/io/posix_file.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "swage/io/gguf.h"
#include "swage/io/joined_tensors.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage::io {
namespace {

constexpr int64_t kHeaderAlignment = 8;
constexpr int64_t kCopyBytes = int64_t{16} << 20;  // what a copy holds of a tensor at once

struct Item {
  std::string name;
  StoredType type;
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::string anchor;  // where it lies in a file: behind others of this name
  size_t place = 0;
};

absl::StatusOr<Item> describe(const std::string& name, at::ScalarType type,
                              std::vector<int64_t> shape) {
  auto stored = to_stored_type(type);
  if (!stored.ok()) return annotate(stored.status(), absl::StrCat("tensor \"", name, "\""));
  Item item{name, *stored, std::move(shape), byte_size(*stored), name};
  for (int64_t size : item.shape) item.bytes *= size;
  return item;
}

// By descending element size every tensor is aligned to its elements; by name within, as the
// official writer does.
void sort_for_file(std::vector<Item>* items) {
  std::sort(items->begin(), items->end(), [](const Item& a, const Item& b) {
    return std::tuple(-byte_size(a.type), a.anchor, a.place) <
           std::tuple(-byte_size(b.type), b.anchor, b.place);
  });
}

std::string header_text(const std::vector<Item>& items) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  int64_t at = 0;
  for (const Item& item : items) {
    absl::StrAppend(&text, ",", to_json(Value(item.name), -1), ":{\"dtype\":\"", name(item.type),
                    "\",\"shape\":[", absl::StrJoin(item.shape, ","), "],\"data_offsets\":[", at,
                    ",", at + item.bytes, "]}");
    at += item.bytes;
  }
  text += "}";
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  return text;
}

absl::StatusOr<OutputFile> begin_file(const std::string& path, const std::vector<Item>& items) {
  const std::string header = header_text(items);
  std::string length;
  for (int i = 0; i < 8; ++i) length.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  SWAGE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  SWAGE_RETURN_IF_ERROR(file.write(length));
  SWAGE_RETURN_IF_ERROR(file.write(header));
  return file;
}

absl::Status write_tensor(OutputFile* file, const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().to(at::kCPU).contiguous();
  return file->write(host.const_data_ptr(), static_cast<int64_t>(host.nbytes()));
}

absl::Status copy_tensor(const WeightSource& source, const Item& item, OutputFile* file) {
  if (item.shape.empty() || item.shape[0] == 0 || item.bytes <= kCopyBytes) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, source.read(item.name));
    return write_tensor(file, tensor);
  }
  const int64_t rows = item.shape[0], step = std::max<int64_t>(1, kCopyBytes / (item.bytes / rows));
  for (int64_t row = 0; row < rows; row += step) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor part,
                           source.read_rows(item.name, row, std::min(rows, row + step)));
    SWAGE_RETURN_IF_ERROR(write_tensor(file, part));
  }
  return absl::OkStatus();
}

absl::Status copy_file(const std::string& path, const WeightSource& source,
                       std::vector<Item> items) {
  sort_for_file(&items);
  SWAGE_ASSIGN_OR_RETURN(OutputFile file, begin_file(path, items));
  for (const Item& item : items) SWAGE_RETURN_IF_ERROR(copy_tensor(source, item, &file));
  return file.commit();
}

// "layers.10" after "layers.9": shards then hold neighbouring blocks.
std::vector<std::pair<int64_t, std::string>> natural_key(const std::string& name) {
  std::vector<std::pair<int64_t, std::string>> key;
  for (const absl::string_view part : absl::StrSplit(name, '.')) {
    int64_t number = -1;
    if (!absl::SimpleAtoi(part, &number)) number = -1;
    key.emplace_back(number, std::string(part));
  }
  return key;
}

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

// Which tensors stay together, and how they lie.
class Places {
 public:
  explicit Places(const JoinedTensors& joined) {
    for (const auto& list : joined) {
      for (size_t i = 0; i < list.size(); ++i) {
        owners_.emplace(module_of(list[i]), module_of(list[0]));
        anchors_.emplace(list[i], std::pair(list[0], i));
      }
    }
  }
  // What a shard holds as a whole: a module, or several under the name of one.
  std::string owner(const std::string& tensor) const {
    const auto found = owners_.find(module_of(tensor));
    return found == owners_.end() ? module_of(tensor) : found->second;
  }
  std::vector<std::pair<int64_t, std::string>> key(const std::string& tensor) const {
    const std::string name = owner(tensor);
    return natural_key(name == module_of(tensor) ? tensor : absl::StrCat(name, ".", tensor));
  }
  void set(Item* item) const {
    const auto found = anchors_.find(item->name);
    if (found != anchors_.end()) std::tie(item->anchor, item->place) = found->second;
  }

 private:
  std::map<std::string, std::string> owners_;
  std::map<std::string, std::pair<std::string, size_t>> anchors_;
};

// Fills shards in order; the tensors of a module stay together, since some readers take one file at
// a time.
absl::StatusOr<std::vector<std::vector<Item>>> plan_shards(const WeightSource& source,
                                                           int64_t shard_bytes,
                                                           const Places& places) {
  std::vector<std::string> names = source.names();
  std::sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return places.key(a) < places.key(b);
  });
  std::vector<std::vector<Item>> shards(1);
  int64_t filled = 0;
  for (size_t i = 0; i < names.size();) {
    std::vector<Item> module;
    int64_t bytes = 0;
    for (const std::string owner = places.owner(names[i]);
         i < names.size() && places.owner(names[i]) == owner; ++i) {
      SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, source.dtype(names[i]));
      SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> shape, source.shape(names[i]));
      SWAGE_ASSIGN_OR_RETURN(Item item, describe(names[i], type, std::move(shape)));
      places.set(&item);
      bytes += item.bytes;
      module.push_back(std::move(item));
    }
    if (filled > 0 && filled + bytes > shard_bytes) shards.emplace_back(), filled = 0;
    filled += bytes;
    std::move(module.begin(), module.end(), std::back_inserter(shards.back()));
  }
  return shards;
}

// Removes what it was told of, unless everything went well.
class Cleanup {
 public:
  explicit Cleanup(std::string directory) : directory_(std::move(directory)) {}
  ~Cleanup() {
    std::error_code ignored;
    for (const std::string& file : files_) std::filesystem::remove(file, ignored);
  }
  std::string path(const std::string& file) {
    return files_.emplace_back((std::filesystem::path(directory_) / file).string());
  }
  std::vector<std::string>* paths() { return &files_; }
  void keep() { files_.clear(); }

 private:
  std::string directory_;
  std::vector<std::string> files_;
};

absl::Status write_weights(const WeightSource& source, int64_t shard_bytes, const Places& places,
                           Cleanup* files) {
  SWAGE_ASSIGN_OR_RETURN(std::vector<std::vector<Item>> shards,
                         plan_shards(source, shard_bytes, places));
  if (shards.size() == 1)
    return copy_file(files->path("model.safetensors"), source, std::move(shards[0]));
  int64_t total = 0;
  Value::Table weight_map;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file =
        absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    for (const Item& item : shards[i]) weight_map[item.name] = Value(file), total += item.bytes;
    SWAGE_RETURN_IF_ERROR(copy_file(files->path(file), source, std::move(shards[i])));
  }
  Value::Table metadata, index;
  metadata["total_size"] = Value(total);
  index["metadata"] = Value(std::move(metadata));
  index["weight_map"] = Value(std::move(weight_map));
  return write_file_atomically(files->path("model.safetensors.index.json"),
                               to_json(Value(std::move(index))) + "\n");
}

}  // namespace

absl::Status write_safetensors(const std::string& path,
                               const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<Item> items;
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : tensors) {
    SWAGE_ASSIGN_OR_RETURN(Item item, describe(name, tensor.scalar_type(), tensor.sizes().vec()));
    if (!by_name.emplace(name, tensor).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor \"", name, "\" is given twice"));
    }
    items.push_back(std::move(item));
  }
  sort_for_file(&items);
  SWAGE_ASSIGN_OR_RETURN(OutputFile file, begin_file(path, items));
  for (const Item& item : items) SWAGE_RETURN_IF_ERROR(write_tensor(&file, by_name.at(item.name)));
  return file.commit();
}

absl::Status write_hf_checkpoint(const std::string& directory, const WeightSource& source,
                                 const Value& config,
                                 const std::vector<std::pair<std::string, std::string>>& side_files,
                                 int64_t shard_bytes) {
  return write_joined_checkpoint(directory, source, config, side_files, shard_bytes, {});
}

absl::Status write_joined_checkpoint(
    const std::string& directory, const WeightSource& source, const Value& config,
    const std::vector<std::pair<std::string, std::string>>& side_files, int64_t shard_bytes,
    const JoinedTensors& joined) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error)
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": cannot be created (", error.message(), ")"));
  Cleanup files(directory);
  SWAGE_RETURN_IF_ERROR(write_weights(source, shard_bytes, Places(joined), &files));
  SWAGE_RETURN_IF_ERROR(write_file_atomically(files.path("config.json"), to_json(config) + "\n"));
  SWAGE_RETURN_IF_ERROR(write_side_files(directory, side_files, files.paths()));
  files.keep();
  return absl::OkStatus();
}

}  // namespace swage::io
