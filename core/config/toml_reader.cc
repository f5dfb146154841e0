#include "core/config/toml_reader.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/shell_quoted.h"
#include "core/config/foreign_names.h"
#include "core/config/toml_depth.h"
#include "core/config/toml_text.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

constexpr int64_t kMaxFileBytes =
    16 << 20;                       // a pipeline is a few kilobytes; anything larger is no pipeline
constexpr int kMaxFiles = 64;       // of a pipeline with all that it includes, each time counted
constexpr size_t kMaxSetWords = 8;  // step.NAME.weight.bits has four

absl::Status error_at(const SourceLocation& where, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat(where.text(), ": ", text));
}

class Converter {
 public:
  Converter(const std::string& origin, Document* document) : origin_(origin), document_(document) {}

  absl::StatusOr<Value> convert(const toml::node& node, const std::string& path) {
    if (const auto* v = node.as_string()) return Value(v->get());
    if (const auto* v = node.as_boolean()) return Value(v->get());
    if (const auto* v = node.as_integer()) return Value(v->get());
    if (const auto* v = node.as_floating_point()) {
      if (std::isfinite(v->get())) return Value(v->get());
      return error_at(at(node.source()), "numbers must be finite");
    }
    if (const auto* array = node.as_array()) return convert_list(*array, path);
    if (const auto* table = node.as_table()) return convert_table(*table, path);
    return error_at(at(node.source()), "dates and times are not used here; write a string");
  }

  SourceLocation at(const toml::source_region& region) const {
    return {origin_, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
  }

 private:
  absl::StatusOr<Value> convert_list(const toml::array& array, const std::string& path) {
    Value::List list;
    for (const toml::node& item : array) {
      const std::string item_path = absl::StrCat(path, "[", list.size(), "]");
      document_->places[item_path] = {at(item.source()), at(item.source())};
      SWAGE_ASSIGN_OR_RETURN(Value value, convert(item, item_path));
      list.push_back(std::move(value));
    }
    return Value(std::move(list));
  }

  absl::StatusOr<Value> convert_table(const toml::table& table, const std::string& path) {
    Value::Table members;
    for (const auto& [key, item] : table) {
      const std::string item_path = join_path(path, key.str());
      document_->places[item_path] = {at(key.source()), at(item.source())};
      SWAGE_ASSIGN_OR_RETURN(Value value, convert(item, item_path));
      members.emplace(std::string(key.str()), std::move(value));
    }
    return Value(std::move(members));
  }

  const std::string& origin_;
  Document* document_;
};

// "step[2].bits" of a list that now starts `offset` entries later.
std::string shifted(const std::string& path, const std::string& list, size_t offset) {
  if (!absl::StartsWith(path, absl::StrCat(list, "["))) return path;
  const size_t close = path.find(']');
  size_t index = 0;
  // A key in quotes may look like an entry.
  if (close == std::string::npos ||
      !absl::SimpleAtoi(path.substr(list.size() + 1, close - list.size() - 1), &index))
    return path;
  return absl::StrCat(list, "[", index + offset, path.substr(close));
}

bool is_list_of_tables(const Value& value) {
  const Value::List* list = value.list();
  return list != nullptr && !list->empty() && list->front().table() != nullptr;
}

void merge_tables(Value::Table& into, Value::Table over) {
  for (auto& [key, value] : over) {
    Value& target = into[key];
    if (target.table() != nullptr && value.table() != nullptr) {
      merge_tables(*target.table(), std::move(*value.table()));
    } else {
      target = std::move(value);
    }
  }
}

void merge(Document& into, Document over) {
  Value::Table& root = *into.root.table();
  for (auto& [key, value] : *over.root.table()) {
    if (!is_list_of_tables(value) || !is_list_of_tables(root[key])) continue;
    std::map<std::string, Document::Place> moved;
    for (auto& [path, place] : over.places)
      moved[shifted(path, key, root[key].list()->size())] = place;
    over.places = std::move(moved);
    Value::List joined = *root[key].list();
    joined.insert(joined.end(), value.list()->begin(), value.list()->end());
    value = Value(std::move(joined));
  }
  merge_tables(root, std::move(*over.root.table()));
  for (auto& [path, place] : over.places) into.places[path] = place;
}

namespace fs = std::filesystem;

// A file with what it includes; counts files and bytes, so that neither a long chain nor files that
// include one another many times over get far.
class FileReader {
 public:
  absl::StatusOr<Document> read(const std::string& file) {
    std::error_code error;
    if (!fs::is_regular_file(file, error)) {
      return absl::NotFoundError(absl::StrCat("\"", file, "\" is ", what_instead(file),
                                              "; expected a pipeline in TOML", other_verb(file)));
    }
    SWAGE_RETURN_IF_ERROR(foreign_pipeline(file));
    SWAGE_ASSIGN_OR_RETURN(const std::string text, io::read_file(file, kMaxFileBytes));
    bytes_ += static_cast<int64_t>(text.size());
    auto parsed = parse_toml(text, file);
    if (!parsed.ok())
      return absl::InvalidArgumentError(
          absl::StrCat(parsed.status().message(), foreign_text(text)));
    Document own = *std::move(parsed);
    Value::Table& root = *own.root.table();
    const auto include = root.find("include");
    if (include == root.end()) return own;
    const Value names =
        include->second.list() != nullptr ? include->second : Value(Value::List{include->second});
    root.erase(include);
    stack_.push_back(fs::canonical(file, error).string());
    Document merged;
    for (size_t i = 0; i < names.list()->size(); ++i) {
      const SourceLocation where = own.place(absl::StrCat("include[", i, "]")).value;
      SWAGE_ASSIGN_OR_RETURN(Document included, read_included((*names.list())[i], file, where));
      merge(merged, std::move(included));
    }
    stack_.pop_back();
    merge(merged, std::move(own));
    return merged;
  }

 private:
  static std::string what_instead(const std::string& file) {
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (fs::is_directory(status)) return "a folder";
    if (error && error != std::errc::no_such_file_or_directory)
      return absl::StrCat("no file (", error.message(), ")");
    return "no file";
  }

  // What such an argument is meant for.
  static std::string other_verb(const std::string& file) {
    std::error_code error;
    if (fs::exists(file + "/run.db", error))
      return absl::StrCat(": `swage resume ", shell_quoted(file), "` continues the run in it");
    if (fs::exists(file + "/config.json", error))
      return absl::StrCat(
          " that names this model in [model] path: `swage help` shows one, `swage "
          "inspect ",
          shell_quoted(file), "` what the model is made of");
    return foreign_home(file);
  }

  absl::StatusOr<Document> read_included(const Value& value, const std::string& file,
                                         const SourceLocation& where) {
    const std::string* name = value.text();
    if (name == nullptr) return error_at(where, "\"include\" is a list of file names");
    const std::string path = (fs::path(file).parent_path() / *name).lexically_normal().string();
    std::error_code error;
    if (!fs::is_regular_file(path, error))
      return error_at(where, absl::StrCat("the included file \"", path, "\" does not exist"));
    const std::string canonical = fs::canonical(path, error).string();
    if (std::find(stack_.begin(), stack_.end(), canonical) != stack_.end()) {
      return error_at(
          where,
          absl::StrCat("\"", *name, "\" includes this file in turn; a file cannot include itself"));
    }
    if (++files_ >= kMaxFiles || bytes_ > kMaxFileBytes) {
      return error_at(where,
                      absl::StrCat("with \"", *name, "\" the pipeline has more than ", kMaxFiles,
                                   " files or 16 MB, those that are included "
                                   "twice counted twice"));
    }
    return read(path);
  }

  std::vector<std::string> stack_;
  int files_ = 0;
  int64_t bytes_ = 0;
};

// Index of the entry that is called `name` in a list of steps, evaluations or exports.
absl::StatusOr<size_t> find_entry(const Value::List& list, const std::string& kind,
                                  const std::string& name) {
  std::vector<std::string> known;
  std::optional<size_t> found;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& own = list[i]["name"].is_null() ? list[i]["use"] : list[i]["name"];
    if (own.text() == nullptr) continue;
    known.push_back(*own.text());
    if (*own.text() != name) continue;
    if (found)
      return absl::InvalidArgumentError(
          absl::StrCat("two entries of ", kind, " are called \"", name, "\"; give them a `name`"));
    found = i;
  }
  if (found) return *found;
  return absl::InvalidArgumentError(
      absl::StrCat("no ", kind, " is called \"", name, "\"", suggestion(name, known)));
}

}  // namespace

std::string SourceLocation::text() const {
  return line == 0 ? file : absl::StrCat(file, ":", line, ":", column);
}

std::string join_path(std::string_view table, std::string_view key) {
  return table.empty() ? std::string(key) : absl::StrCat(std::string(table), ".", std::string(key));
}

const Document::Place& Document::place(std::string_view path) const {
  std::string wanted(path);
  for (;;) {
    const auto it = places.find(wanted);
    if (it != places.end() || wanted.empty()) {
      static const Place kNowhere;
      return it == places.end() ? kNowhere : it->second;
    }
    const size_t cut = wanted.find_last_of(".[");
    wanted.resize(cut == std::string::npos ? 0 : cut);
  }
}

absl::StatusOr<Document> parse_toml(std::string_view text, const std::string& origin) {
  Document document;
  document.places[""] = {{origin, 0, 0}, {origin, 0, 0}};
  SWAGE_RETURN_IF_ERROR(check_toml_depth(text, origin));
  try {
    const toml::table table = toml::parse(text, origin);
    SWAGE_ASSIGN_OR_RETURN(document.root, Converter(origin, &document).convert(table, ""));
    return document;
  } catch (const toml::parse_error& error) {
    return error_at(
        Converter(origin, &document).at(error.source()),
        absl::StrCat("this is not valid TOML: ", toml_problem(std::string(error.description()))));
  }
}

absl::StatusOr<Document> read_toml(const std::string& file) { return FileReader().read(file); }

absl::Status apply_set(const std::string& assignment, Document* document) {
  const SourceLocation where{absl::StrCat("--set ", assignment), 0, 0};
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return error_at(where, "expected KEY=VALUE, for example step.gptq.weight.bits=3");
  }
  const std::string left = assignment.substr(0, equals);
  if (static_cast<size_t>(std::count(left.begin(), left.end(), '.')) >= kMaxSetWords)
    return error_at(where, absl::StrCat("a key has ", kMaxSetWords, " words at most"));
  if (left == "include" || absl::StartsWith(left, "include."))
    return error_at(where, "\"include\" stands in files alone; write a file that includes both");
  const std::string right = assignment.substr(equals + 1);
  auto parsed = parse_toml(absl::StrCat("value = ", right), "");
  const bool is_toml = parsed.ok() && parsed->root.table()->size() == 1;
  const Value value = is_toml ? parsed->root["value"] : Value(right);

  Value* target = &document->root;
  std::string path;
  std::string rest = left;
  while (!rest.empty()) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string word = rest.substr(0, dot);
    rest = dot == rest.size() ? "" : rest.substr(dot + 1);
    if (Value::List* list = target->list(); list != nullptr && is_list_of_tables(*target)) {
      const auto index = find_entry(*list, path, word);
      if (!index.ok()) return error_at(where, std::string(index.status().message()));
      target = &(*list)[*index];
      absl::StrAppend(&path, "[", *index, "]");
    } else {
      if (target->is_null()) *target = Value(Value::Table{});
      if (word.empty() || target->table() == nullptr) {
        return error_at(where, absl::StrCat("\"", path, "\" has no member \"", word, "\""));
      }
      target = &(*target->table())[word];
      path = join_path(path, word);
    }
    document->places[path] = {where, where};
  }
  if (target->table() != nullptr || is_list_of_tables(*target)) {
    return error_at(where, absl::StrCat("\"", path, "\" is a table; set one of its keys"));
  }
  *target = value;
  return absl::OkStatus();
}

}  // namespace swage
