#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "arguments.h"
#include "quantization_config.h"
#include "swage/status.h"
#include "targets.h"

namespace swage::compressed_tensors {
namespace {

using Texts = std::vector<std::string>;

std::string shown(const Value& value) { return to_json(value, -1).substr(0, 200); }

// One table of the block and the path to it. The first mistake stays, in `status`.
class Reader {
 public:
  Reader(const Value& table, std::string path, absl::Status* status)
      : table_(table), path_(std::move(path)), status_(status) {
    if (table.table() == nullptr) fail("", table, "a table");
  }

  const Value& operator[](std::string_view key) const { return table_[key]; }

  void fail(std::string_view key, const Value& found, std::string_view expected) {
    if (!status_->ok()) return;
    *status_ = absl::InvalidArgumentError(
        absl::StrCat("config.json: ", path_, key.empty() ? "" : ".", std::string(key), " is ",
                     shown(found), ", expected ", std::string(expected)));
  }

  int64_t integer(std::string_view key, int64_t low, int64_t high) {
    const int64_t* found = table_[key].integer();
    if (found != nullptr && *found >= low && *found <= high) return *found;
    fail(key, table_[key], low == high ? absl::StrCat(low) : absl::StrCat(low, " to ", high));
    return low;
  }

  bool flag(std::string_view key, bool fallback) {
    if (table_[key].is_null()) return fallback;
    if (const bool* found = table_[key].boolean()) return *found;
    fail(key, table_[key], "true or false");
    return fallback;
  }

  // The index in `allowed`.
  size_t choice(std::string_view key, const Value& found, const Texts& allowed) {
    for (size_t i = 0; i < allowed.size(); ++i)
      if (found.text() != nullptr && *found.text() == allowed[i]) return i;
    fail(key, found, absl::StrCat("\"", absl::StrJoin(allowed, "\" or \""), "\""));
    return 0;
  }
  size_t choice(std::string_view key, const Texts& allowed) {
    return choice(key, table_[key], allowed);
  }

  Texts texts(std::string_view key) {
    Texts result;
    const Value& found = table_[key];
    if (found.is_null()) return result;
    if (found.list() == nullptr) fail(key, found, "a list of strings");
    for (const Value& item : found.list() != nullptr ? *found.list() : Value::List{}) {
      if (item.text() == nullptr) fail(key, item, "a string");
      result.push_back(item.text() != nullptr ? *item.text() : "");
    }
    return result;
  }

  // Whatever else stands there may change what the numbers mean.
  void expect_only(const std::set<std::string>& known) {
    if (table_.table() == nullptr) return;
    for (const auto& [key, value] : *table_.table()) {
      if (known.count(key) == 0 && !value.is_null())
        fail(key, value, "no such key (not supported)");
    }
  }

  // What this reader would decode wrongly if it went on.
  void expect_empty(std::string_view key) {
    const Value::Table* table = table_[key].table();
    if (!table_[key].is_null() && (table == nullptr || !table->empty()))
      fail(key, table_[key], "nothing (it is not supported)");
  }

 private:
  const Value& table_;
  std::string path_;
  absl::Status* status_;
};

// Observers chose the scales, in the past; they change nothing in the files.
const std::set<std::string> kSchemeKeys = {
    "type",     "num_bits", "symmetric",       "strategy",    "group_size", "dynamic",
    "actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype",   "block_structure"};

// "dynamic" is a flag or "local".
std::string read_dynamic(Reader* table) {
  const std::string* text = (*table)["dynamic"].text();
  if (text != nullptr && *text == "local") return *text;
  return table->flag("dynamic", false) ? "true" : "false";
}

Arguments read_arguments(Reader* table, const Texts& strategies) {
  Arguments arguments;
  table->expect_only(kSchemeKeys);
  const bool integers = table->choice("type", {"int", "float"}) == 0;
  arguments.type = integers ? "int" : "float";
  arguments.strategy = strategies[table->choice("strategy", strategies)];
  if (arguments.strategy == "group" || arguments.strategy == "tensor_group")
    arguments.group_size = table->integer("group_size", 1, int64_t{1} << 30);
  const bool blocks = arguments.strategy == "block";
  if (!blocks && !(*table)["block_structure"].is_null())
    table->fail("block_structure", (*table)["block_structure"], "null without \"block\"");
  if (blocks) {
    const Value::List* sides = (*table)["block_structure"].list();
    const bool two = sides != nullptr && sides->size() == 2 && (*sides)[0].integer() != nullptr &&
                     (*sides)[1].integer() != nullptr && *(*sides)[0].integer() > 0 &&
                     *(*sides)[1].integer() > 0;
    if (two) {
      arguments.block_rows = *(*sides)[0].integer();
      arguments.block_columns = *(*sides)[1].integer();
    } else {
      table->fail("block_structure", (*table)["block_structure"], "rows and columns above 0");
    }
    if (integers) table->fail("strategy", Value("block"), "another one for integers");
  }
  const Value& scales = (*table)["scale_dtype"];
  if (scales.text() != nullptr &&
      (*scales.text() == "torch.uint8" || arguments.strategy == "tensor_group"))
    arguments.scale_dtype = *scales.text();
  const bool small = arguments.group_size > 0 && !integers;
  arguments.bits = table->integer("num_bits", integers ? 2 : small ? 4 : 8, 8);
  if (!integers && arguments.bits != 4 && arguments.bits != 8)
    table->fail("num_bits", Value(arguments.bits), "4 or 8 for floats");
  arguments.symmetric = table->flag("symmetric", true);
  if (!integers && !arguments.symmetric) table->fail("symmetric", Value(false), "true for floats");
  arguments.dynamic = read_dynamic(table);
  return arguments;
}

std::shared_ptr<const Codec> to_codec(Reader* table, const Arguments& arguments, bool inputs) {
  const auto scheme = to_scheme(arguments, inputs);
  if (!scheme.ok()) {
    table->fail("", Value(to_table(arguments)), absl::StrCat("no ", scheme.status().message()));
    return nullptr;
  }
  auto codec = make_codec(*scheme);
  if (!codec.ok()) {
    table->fail("", Value(to_table(arguments)),
                absl::StrCat("another scheme: ", codec.status().message()));
    return nullptr;
  }
  return *std::move(codec);
}

std::shared_ptr<const Codec> read_weights(Reader table) {
  const Arguments arguments =
      read_arguments(&table, {"tensor", "channel", "group", "block", "tensor_group"});
  if (arguments.dynamic != "false") table.fail("dynamic", table["dynamic"], "false for weights");
  const bool plain = arguments.scale_dtype.empty() && arguments.strategy == "group";
  if (arguments.type == "float" && plain && arguments.bits == 8)
    table.fail("strategy", Value("group"), "\"tensor\", \"channel\" or \"block\" for floats");
  // The order in which columns were quantized; it changes nothing in the files.
  if (!table["actorder"].is_null()) table.choice("actorder", {"weight", "static"});
  return to_codec(&table, arguments, false);
}

std::shared_ptr<const Codec> read_activation(Reader table) {
  const Arguments arguments = read_arguments(&table, {"token", "tensor", "group", "tensor_group"});
  if (!table["actorder"].is_null()) table.fail("actorder", table["actorder"], "null");
  const bool one = arguments.strategy == "tensor";
  const bool local = arguments.strategy == "tensor_group";
  if (!one && arguments.dynamic == "false")
    table.fail("dynamic", table["dynamic"],
               local ? "\"local\" for \"tensor_group\""
                     : absl::StrCat("true for \"", arguments.strategy, "\""));
  if (local != (arguments.dynamic == "local"))
    table.fail("dynamic", table["dynamic"], "\"local\" with \"tensor_group\" alone");
  return to_codec(&table, arguments, true);
}

Layout read_layout(Reader* group, const Value& format, const Quantization& quantization) {
  const auto layout = layout_named(format.text() != nullptr ? *format.text() : "");
  if (!layout.ok()) {
    group->fail("format", format, std::string(layout.status().message()));
    return Layout::kPacked;
  }
  if (quantization.weight == nullptr) return *layout;
  const bool integers = *layout == Layout::kPacked || *layout == Layout::kInt;
  const auto fitting = choose_layout({quantization.weight, nullptr}, 0, 0);
  const bool fits =
      fitting.ok() && (integers ? quantization.weight->format() == "int" : *fitting == *layout);
  if (!fits) {
    group->fail("format", format,
                quantization.weight->format() == "int" ? "a format for integers"
                : fitting.ok() ? absl::StrCat("\"", format_name(*fitting), "\"")
                               : std::string(fitting.status().message()));
  }
  return *layout;
}

StoredAs read_group(Reader group, const std::string& path, const Value& fallback_format,
                    absl::Status* status) {
  StoredAs stored;
  stored.quantization.weight = read_weights(Reader(group["weights"], path + ".weights", status));
  if (!group["input_activations"].is_null()) {
    stored.quantization.activation =
        read_activation(Reader(group["input_activations"], path + ".input_activations", status));
  }
  if (!group["output_activations"].is_null())
    group.fail("output_activations", group["output_activations"], "null (it is not supported)");
  stored.layout = read_layout(&group, group["format"].is_null() ? fallback_format : group["format"],
                              stored.quantization);
  group.expect_only({"targets", "weights", "input_activations", "output_activations", "format"});
  return stored;
}

// The group whose targets name the linear best.
struct Found {
  Match match = Match::kNone;
  std::string group;
  bool ambiguous = false;

  void offer(Match candidate, const std::string& name) {
    if (candidate == Match::kNone || candidate < match) return;
    ambiguous = candidate == match;
    match = candidate;
    group = name;
  }
};

absl::StatusOr<Found> find_group(const Value& groups, const std::string& path,
                                 const std::string& linear) {
  Found found;
  absl::Status status;
  const Reader check(groups, path, &status);
  if (!status.ok()) return status;
  for (const auto& [name, group] : *groups.table()) {
    const Texts targets = Reader(group, absl::StrCat(path, ".", name), &status).texts("targets");
    if (!status.ok()) return status;
    const auto candidate = match_any(targets, linear);
    if (!candidate.ok())
      return annotate(candidate.status(),
                      absl::StrCat("config.json: ", path, ".", name, ".targets"));
    found.offer(*candidate, name);
  }
  return found;
}

}  // namespace

absl::StatusOr<std::optional<StoredAs>> find_linear(const Value& block, const std::string& linear) {
  const std::string path = "quantization_config";
  if (block.is_null()) return std::nullopt;
  absl::Status status;
  Reader reader(block, path, &status);
  reader.choice("quant_method", {"compressed-tensors"});
  for (const char* part : {"kv_cache_scheme", "sparsity_config", "transform_config"})
    reader.expect_empty(part);
  reader.expect_only({"quant_method", "config_groups", "ignore", "format", "quantization_status",
                      "global_compression_ratio", "version", "kv_cache_scheme", "sparsity_config",
                      "transform_config"});
  const Texts ignore = reader.texts("ignore");
  if (!status.ok()) return status;
  const auto ignored = match_any(ignore, linear);
  if (!ignored.ok())
    return annotate(ignored.status(), absl::StrCat("config.json: ", path, ".ignore"));
  if (*ignored != Match::kNone) return std::nullopt;

  const std::string groups = path + ".config_groups";
  SWAGE_ASSIGN_OR_RETURN(const Found found, find_group(reader["config_groups"], groups, linear));
  if (found.match == Match::kNone) return std::nullopt;
  if (found.ambiguous) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", groups, " names ", linear,
                                                   " in several groups, expected one"));
  }
  const std::string group = absl::StrCat(groups, ".", found.group);
  StoredAs stored = read_group(Reader(reader["config_groups"][found.group], group, &status), group,
                               reader["format"], &status);
  if (!status.ok()) return status;
  return stored;
}

}  // namespace swage::compressed_tensors
