#include "text/foreign_files.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "text/unicode.h"

namespace swage::text {
namespace {

using std::string_view_literals::operator""sv;

constexpr const char* kParquet =
    "turn it into JSON Lines: python3 -c \"import pandas; pandas.read_parquet('FILE').to_json("
    "'data.jsonl', orient='records', lines=True, force_ascii=False)\"";
constexpr const char* kArrow =
    "turn it into JSON Lines: python3 -c \"import datasets; datasets.Dataset.from_file('FILE')"
    ".to_json('data.jsonl', force_ascii=False)\"";
constexpr const char* kCsv =
    "turn it into JSON Lines with a key \"text\": python3 -c \"import pandas; pandas.read_csv("
    "'FILE').to_json('data.jsonl', orient='records', lines=True, force_ascii=False)\"";
constexpr const char* kIds =
    "write the ids as JSON: {\"input_ids\": [[1, 2, …], …]}, or as safetensors";
constexpr const char* kOther = "write it as text (.txt) or as one {\"text\": …} a line (.jsonl)";
constexpr const char* kUtf8 = "turn it into UTF-8: iconv -f UTF-16 -t UTF-8 FILE > data.txt";

struct Format {
  std::string_view magic;
  const char* name;
  const char* way_out;
};

// Longer beginnings stand before those that they begin with.
constexpr Format kFormats[] = {
    {"\x1F\x8B"sv, "packed by gzip", "unpack it: gunzip -k FILE"},
    {"\x28\xB5\x2F\xFD"sv, "packed by zstd", "unpack it: zstd -d FILE"},
    {"\xFD\x37zXZ"sv, "packed by xz", "unpack it: unxz -k FILE"},
    {"\x04\x22\x4D\x18"sv, "packed by lz4", "unpack it: lz4 -d FILE"},
    {"BZh"sv, "packed by bzip2", "unpack it: bunzip2 -k FILE"},
    {"7z\xBC\xAF"sv, "an archive of 7-Zip", "unpack it: 7z x FILE"},
    {"PK\x03\x04"sv, "a zip archive",
     "unpack it: unzip FILE (of .npz and .pt files, write the ids as JSON)"},
    {"PAR1"sv, "a Parquet file", kParquet},
    {"ARROW1"sv, "an Arrow file", kArrow},
    {"\xFF\xFF\xFF\xFF"sv, "an Arrow stream", kArrow},
    {"Obj\x01"sv, "an Avro file", kOther},
    {"\x93NUMPY"sv, "an array of NumPy", kIds},
    {"\x80\x02"sv, "a pickle of Python", kIds},
    {"\x80\x03"sv, "a pickle of Python", kIds},
    {"\x80\x04"sv, "a pickle of Python", kIds},
    {"\x80\x05"sv, "a pickle of Python", kIds},
    {"\x89HDF"sv, "an HDF5 file", kOther},
    {"SQLite format 3"sv, "a database of SQLite", kOther},
    {"GGUF"sv, "a GGUF model", "give a file of text as source, and the model as [model] path"},
    {"%PDF-"sv, "a PDF", kOther},
    {"\x89PNG"sv, "a picture", "pictures are named in a .jsonl (docs/pipeline.md)"},
    {"\xFF\xD8\xFF"sv, "a picture", "pictures are named in a .jsonl (docs/pipeline.md)"},
    {"RIFF"sv, "a picture or sound", "pictures are named in a .jsonl (docs/pipeline.md)"},
    {"\x7F"
     "ELF"sv,
     "a program", kOther},
    {"\xFF\xFE"sv, "text of 16 bits (UTF-16)", kUtf8},
    {"\xFE\xFF"sv, "text of 16 bits (UTF-16)", kUtf8},
    {"\0\0\xFE\xFF"sv, "text of 32 bits (UTF-32)",
     "turn it into UTF-8: iconv -f UTF-32 -t UTF-8 FILE > data.txt"}};

struct Ending {
  std::string_view ending;
  const char* way_out;  // null: the content is not what the name promises
};

constexpr Ending kEndings[] = {
    {".csv", kCsv},           {".tsv", kCsv},       {".yaml", kOther},     {".yml", kOther},
    {".xml", kOther},         {".html", kOther},    {".htm", kOther},      {".toml", kOther},
    {".parquet", nullptr},    {".arrow", nullptr},  {".feather", nullptr}, {".gz", nullptr},
    {".tgz", nullptr},        {".zst", nullptr},    {".xz", nullptr},      {".bz2", nullptr},
    {".lz4", nullptr},        {".zip", nullptr},    {".7z", nullptr},      {".tar", nullptr},
    {".npy", nullptr},        {".npz", nullptr},    {".pt", nullptr},      {".pth", nullptr},
    {".pkl", nullptr},        {".pickle", nullptr}, {".h5", nullptr},      {".hdf5", nullptr},
    {".avro", nullptr},       {".orc", nullptr},    {".db", nullptr},      {".sqlite", nullptr},
    {".gguf", nullptr},       {".pdf", nullptr},    {".docx", nullptr},    {".xlsx", nullptr},
    {".safetensors", nullptr}};

constexpr std::string_view kPlainEndings[] = {".txt", ".text", ".md", ".tokens", ".raw"};

std::string with_file(const char* way_out, const std::string& path) {
  return absl::StrReplaceAll(way_out, {{"FILE", path}});
}

bool is_ascii(std::string_view magic) {
  return std::all_of(magic.begin(), magic.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

absl::Status check_foreign(const std::string& path, absl::string_view head) {
  // A character may be cut at the end of the head.
  const std::string_view most(head.data(), head.size() - std::min<size_t>(head.size(), 3));
  const size_t bad = find_bad_utf8(most);
  const bool is_text =
      most.find('\0') == std::string_view::npos && (bad == kValidUtf8 || bad + 4 > most.size());
  for (const Format& format : kFormats) {
    if (!absl::StartsWith(head, {format.magic.data(), format.magic.size()})) continue;
    if (is_ascii(format.magic) && is_text) continue;  // a text may begin with these letters
    return absl::InvalidArgumentError(absl::StrCat(path, ": is ", format.name,
                                                   ", expected text, JSON Lines or token ids; ",
                                                   with_file(format.way_out, path)));
  }
  if (absl::StartsWith(head, "version https://git-lfs.github.com/spec/")) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": is a pointer of Git LFS, not the file itself; fetch it: git lfs pull"));
  }
  return absl::OkStatus();
}

absl::Status check_text_ending(const std::string& path, const std::string& ending) {
  for (const Ending& known : kEndings) {
    if (ending != known.ending) continue;
    if (known.way_out == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": its name ends in ", ending,
                       ", but it holds plain text; rename it if that is what it should be"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": files that end in ", ending, " are not read; ",
                     with_file(known.way_out, path), ", or name it .txt if it is running text"));
  }
  return absl::OkStatus();
}

bool is_plain_ending(const std::string& ending) {
  return std::count(std::begin(kPlainEndings), std::end(kPlainEndings), ending) > 0;
}

}  // namespace swage::text
