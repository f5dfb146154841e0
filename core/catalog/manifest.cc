#include "core/catalog/manifest.h"

#include <algorithm>
#include <regex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/config/param_check.h"
#include "core/config/toml_reader.h"
#include "swage/interfaces.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

const std::vector<std::string> kTypes = {"bool",   "int",     "float",   "string", "path",
                                         "choice", "strings", "numbers", "table"};
const std::vector<std::string> kTables = {"weight", "activation"};

// Keys that stand beside a component's own in a pipeline file, and those that are to come: a
// parameter of such a name would be read as the host's.
const std::vector<std::string> kReserved = {
    "use",    "name",   "match",    "weight",  "activation",      "kv",
    "format", "scheme", "override", "keep",    "calibrate_on",    "survey",
    "state",  "budget", "path",     "profile", "serve",           "taps",
    "when",   "towers", "include",  "mix",     "tensor_parallel", "device"};

std::vector<std::string> component_keys(const std::string& kind) {
  std::vector<std::string> keys = {"kind", "name", "interface", "summary", "param"};
  std::vector<std::string> own;
  if (kind == "algorithm") own = {"schemes", "calibration"};
  if (kind == "model")
    own = {"architectures",
           "model_types",
           "linears",
           "routers",
           "kept",
           "ignored",
           "blocks",
           "spellings",
           "towers",
           "language",
           "language_spellings",
           "language_type",
           "head"};
  if (kind == "exporter") own = {"quant_method", "config_key", "tensor_ends"};
  if (kind == "format") own = {"tables"};
  keys.insert(keys.end(), own.begin(), own.end());
  return keys;
}

std::vector<std::string> param_keys(const std::string& kind, const std::string& type) {
  std::vector<std::string> keys = {"name", "type", "help", "default", "optional"};
  if (type == "int" || type == "float" || type == "numbers")
    keys.insert(keys.end(), {"min", "max"});
  if (type == "choice") keys.push_back("choices");
  if (kind != "format") return keys;
  keys.insert(keys.end(), {"tables", "when"});
  if (type == "choice" || type == "bool") keys.insert(keys.end(), {"needs", "measured"});
  return keys;
}

bool stands_in(const ParamManifest& param, const std::string& table) {
  return std::count(param.tables.begin(), param.tables.end(), table) > 0;
}

bool share_a_table(const ParamManifest& a, const ParamManifest& b) {
  return a.tables.empty() ||
         std::any_of(a.tables.begin(), a.tables.end(),
                     [&](const std::string& table) { return stands_in(b, table); });
}

// Reads one manifest; the first mistake wins and later reads do nothing.
class ManifestReader {
 public:
  explicit ManifestReader(const Document& document) : document_(document) {}

  absl::StatusOr<Manifest> read() {
    Manifest manifest;
    check_keys("", {"id", "version", "summary", "component"}, "a manifest");
    manifest.id = identifier("", "id");
    manifest.version = text("", "version");
    manifest.summary = text("", "summary");
    const size_t count = tables("", "component");
    if (count == 0) fail("", "", "no [[component]]; a plugin has at least one");
    for (size_t i = 0; i < count; ++i)
      manifest.components.push_back(component(absl::StrCat("component[", i, "]")));
    check_unique(manifest);
    if (!status_.ok()) return status_;
    return manifest;
  }

 private:
  ComponentManifest component(const std::string& path) {
    ComponentManifest result;
    result.kind = one_of(path, "kind", component_kinds());
    check_keys(path, component_keys(result.kind), "a component of this kind");
    result.name = identifier(path, "name");
    result.interface = text(path, "interface");
    if (!std::regex_match(result.interface, std::regex(result.kind + "/[1-9][0-9]{0,5}"))) {
      fail(path, "interface",
           absl::StrCat("found \"", result.interface, "\", expected \"", interface_of(result.kind),
                        "\""));
    }
    result.summary = text(path, "summary");
    result.schemes = scheme_tables(path, "schemes", {});
    if (result.kind == "format") result.tables = scheme_tables(path, "tables", {"weight"});
    result.calibration = flag(path, "calibration");
    result.architectures = texts(path, "architectures");
    result.model_types = texts(path, "model_types");
    result.linears = texts(path, "linears");
    result.kept = texts(path, "kept");
    result.ignored = texts(path, "ignored");
    result.routers = texts(path, "routers");
    if (has(path, "blocks")) result.blocks = text(path, "blocks");
    if (has(path, "head")) result.head = text(path, "head");
    result.spellings = spellings(path, "spellings");
    result.towers = towers(path);
    if (has(path, "language")) result.language = text(path, "language");
    if (has(path, "language_type")) result.language_type = text(path, "language_type");
    result.language_spellings = spellings(path, "language_spellings");
    if (has(path, "quant_method")) result.quant_method = text(path, "quant_method");
    if (has(path, "config_key")) result.config_key = text(path, "config_key");
    result.tensor_ends = texts(path, "tensor_ends");
    if (result.quant_method.empty() && !(result.config_key.empty() && result.tensor_ends.empty()))
      fail(path, "", "quant_method is missing: what checkpoints that are known so are called");
    const size_t count = tables(path, "param");
    for (size_t i = 0; i < count; ++i)
      result.params.push_back(param(absl::StrCat(path, ".param[", i, "]"), result));
    return result;
  }

  // `owner` holds the parameters before this one.
  ParamManifest param(const std::string& path, const ComponentManifest& owner) {
    ParamManifest result;
    result.name = identifier(path, "name");
    result.type = one_of(path, "type", kTypes);
    check_keys(path, param_keys(owner.kind, result.type),
               absl::StrCat("a parameter of type ", result.type));
    if (std::count(kReserved.begin(), kReserved.end(), result.name) > 0) {
      fail(path, "name",
           absl::StrCat("\"", result.name,
                        "\" is a key of the host, now or in time to come; call the parameter "
                        "otherwise (reserved are ",
                        absl::StrJoin(kReserved, ", "), ")"));
    }
    result.help = text(path, "help");
    result.optional = flag(path, "optional");
    result.minimum = number(path, "min");
    result.maximum = number(path, "max");
    if (result.minimum && result.maximum && *result.minimum > *result.maximum)
      fail(path, "min", "min is above max");
    result.choices = texts(path, "choices");
    if (result.type == "choice" && result.choices.empty())
      fail(path, "choices", "expected at least one choice");
    if (has(path, "default")) result.default_value = default_of(path, result);
    if (owner.kind == "format") {
      if (result.type == "path")
        fail(path, "type", "keys of a scheme are values, no path; use \"string\"");
      result.tables = scheme_tables(path, "tables", owner.tables);
      for (const std::string& table : result.tables) {
        if (std::count(owner.tables.begin(), owner.tables.end(), table) == 0)
          fail(path, "tables", absl::StrCat("the format has no table \"", table, "\""));
      }
    }
    for (const ParamManifest& other : owner.params) {
      if (other.name == result.name && share_a_table(other, result))
        fail(path, "name", absl::StrCat("a second parameter \"", result.name, "\""));
    }
    if (has(path, "when")) result.when = conditions(path, "when", at(path, "when"), result, owner);
    read_needs(path, owner, &result);
    read_measured(path, &result);
    return result;
  }

  // Scheme tables that a key lists; `absent` where it is not there.
  std::vector<std::string> scheme_tables(const std::string& path, const std::string& key,
                                         std::vector<std::string> absent) {
    if (!has(path, key)) return absent;
    std::vector<std::string> result = texts(path, key);
    if (result.empty() && !absent.empty()) fail(path, key, "names no table");
    for (const std::string& table : result) {
      if (std::count(kTables.begin(), kTables.end(), table) > 0) continue;
      fail(path, key, absl::StrCat("found \"", table, "\", expected \"weight\" or \"activation\""));
    }
    return result;
  }

  // { granularity = "group", … }: earlier parameters and the values that they must have.
  ParamManifest::Conditions conditions(const std::string& path, const std::string& key,
                                       const Value& value, const ParamManifest& param,
                                       const ComponentManifest& owner) {
    ParamManifest::Conditions result;
    if (value.table() == nullptr || value.table()->empty())
      return fail(path, key, "expected a table of keys and the values they need"), result;
    for (const auto& [name, wanted] : *value.table()) {
      Value::List values = wanted.list() != nullptr ? *wanted.list() : Value::List{wanted};
      for (const std::string& table : param.tables)
        check_condition(path, key, name, values, table, owner);
      result.push_back({name, std::move(values)});
    }
    return result;
  }

  void check_condition(const std::string& path, const std::string& key, const std::string& name,
                       const Value::List& values, const std::string& table,
                       const ComponentManifest& owner) {
    const auto other = std::find_if(
        owner.params.begin(), owner.params.end(),
        [&](const ParamManifest& one) { return one.name == name && stands_in(one, table); });
    if (other == owner.params.end()) {
      fail(path, key,
           absl::StrCat("\"", name, "\" is no parameter of the table ", table,
                        " that is declared before this one"));
      return;
    }
    if (values.empty()) fail(path, key, absl::StrCat("\"", name, "\" needs a value"));
    for (const Value& value : values) {
      std::string wrong;
      if (checked_value(*other, value, &wrong) == value) continue;
      fail(path, key,
           absl::StrCat("\"", name, "\" cannot be ", wrong.empty() ? to_json(value, -1) : wrong,
                        "; expected ", describe_type(*other)));
    }
  }

  // A choice, or the bool that the words true and false stand for; null when it is neither.
  static Value value_named(const ParamManifest& param, const std::string& word) {
    std::string wrong;
    if (param.type != "bool") return checked_value(param, Value(word), &wrong);
    return word == "true" || word == "false" ? Value(word == "true") : Value();
  }

  void read_needs(const std::string& path, const ComponentManifest& owner, ParamManifest* param) {
    if (!has(path, "needs")) return;
    const Value::Table* const table = at(path, "needs").table();
    if (table == nullptr) return fail(path, "needs", "expected a table of values");
    for (const auto& [word, wanted] : *table) {
      Value value = value_named(*param, word);
      if (value.is_null())
        return fail(path, "needs",
                    absl::StrCat("found \"", word, "\", expected ", describe_type(*param)));
      param->needs.emplace_back(std::move(value), conditions(path, "needs", wanted, *param, owner));
    }
  }

  void read_measured(const std::string& path, ParamManifest* param) {
    if (!has(path, "measured")) return;
    const Value::List* const list = at(path, "measured").list();
    if (list == nullptr) return fail(path, "measured", "expected a list of values");
    for (const Value& value : *list) {
      std::string wrong;
      checked_value(*param, value, &wrong);
      if (!wrong.empty())
        return fail(path, "measured",
                    absl::StrCat("found ", wrong, ", expected ", describe_type(*param)));
    }
    param->measured = *list;
  }

  Value default_of(const std::string& path, const ParamManifest& param) {
    const Value& given = at(path, "default");
    std::string wrong;
    Value value = checked_value(param, given, &wrong);
    // One text or number is a list of one in a pipeline file, but not where a plugin is declared.
    const bool list = param.type == "strings" || param.type == "numbers";
    if (wrong.empty() && (!list || given.list() != nullptr)) return value;
    fail(path, "default",
         absl::StrCat("found ", wrong.empty() ? type_of(given) : wrong, ", expected ",
                      describe_type(param)));
    return {};
  }

  void check_unique(const Manifest& manifest) {
    std::set<std::string> names;
    for (size_t i = 0; i < manifest.components.size(); ++i) {
      const ComponentManifest& component = manifest.components[i];
      if (names.insert(component.kind + " " + component.name).second) continue;
      fail(absl::StrCat("component[", i, "]"), "name",
           absl::StrCat("a second ", component.kind, " \"", component.name, "\""));
    }
  }

  const Value& at(const std::string& path, const std::string& key) const {
    return table(path)[key];
  }
  bool has(const std::string& path, const std::string& key) const { return table(path).has(key); }

  // Path "component[1].param[0]" or "".
  const Value& table(const std::string& path) const {
    const Value* value = &document_.root;
    for (size_t start = 0; start < path.size();) {
      const size_t open = path.find('[', start), close = path.find(']', open);
      value = &(*(*value)[path.substr(start, open - start)]
                     .list())[std::stoul(path.substr(open + 1, close - open - 1))];
      start = close + 2;
    }
    return *value;
  }

  // Elements of [[key]]; 0 also when it is something else, which is then an error.
  size_t tables(const std::string& path, const std::string& key) {
    if (!has(path, key)) return 0;
    const Value::List* list = at(path, key).list();
    const bool fits =
        list != nullptr && std::all_of(list->begin(), list->end(),
                                       [](const Value& item) { return item.table() != nullptr; });
    if (fits) return list->size();
    fail(path, key, absl::StrCat("expected [[", key, "]] tables"));
    return 0;
  }

  std::string text(const std::string& path, const std::string& key) {
    const std::string* value = at(path, key).text();
    if (value != nullptr && !value->empty()) return *value;
    fail(path, key,
         has(path, key) ? absl::StrCat("found ", at(path, key).type_name(),
                                       ", expected a text that is not empty")
                        : "is missing");
    return "";
  }

  std::string identifier(const std::string& path, const std::string& key) {
    const std::string value = text(path, key);
    static const std::regex pattern("[A-Za-z0-9][A-Za-z0-9._-]{0,99}");
    if (status_.ok() && !std::regex_match(value, pattern)) {
      fail(path, key,
           absl::StrCat("found \"", value,
                        "\", expected letters, digits, \".\", \"_\" and \"-\", at most 100"));
    }
    return value;
  }

  std::string one_of(const std::string& path, const std::string& key,
                     const std::vector<std::string>& known) {
    const std::string value = text(path, key);
    if (std::count(known.begin(), known.end(), value) == 0) {
      fail(path, key,
           absl::StrCat("found \"", value, "\", expected one of ", absl::StrJoin(known, ", ")));
    }
    return value;
  }

  std::vector<std::string> texts(const std::string& path, const std::string& key) {
    std::vector<std::string> result;
    if (!has(path, key)) return result;
    const Value::List* list = at(path, key).list();
    if (list == nullptr) return fail(path, key, "expected a list of texts"), result;
    for (const Value& item : *list) {
      if (item.text() == nullptr) return fail(path, key, "expected a list of texts"), result;
      result.push_back(*item.text());
    }
    return result;
  }

  // "known = stored"; either may be empty.
  Spellings spellings(const std::string& path, const std::string& key) {
    Spellings result;
    for (const std::string& line : texts(path, key)) {
      const std::pair<std::string, std::string> pair =
          absl::StrSplit(line, absl::MaxSplits('=', 1));
      if (!absl::StrContains(line, '=')) {
        fail(path, key, absl::StrCat("found \"", line, "\", expected \"known = stored\""));
      }
      result.emplace_back(absl::StripAsciiWhitespace(pair.first),
                          absl::StripAsciiWhitespace(pair.second));
    }
    return result;
  }

  std::vector<std::pair<std::string, std::vector<std::string>>> towers(const std::string& path) {
    std::vector<std::pair<std::string, std::vector<std::string>>> result;
    if (!has(path, "towers")) return result;
    const Value::Table* const table = at(path, "towers").table();
    if (table == nullptr) return fail(path, "towers", "expected a table of lists"), result;
    for (const auto& [tower, globs] : *table) {
      std::vector<std::string> list;
      const bool fits = globs.list() != nullptr &&
                        std::all_of(globs.list()->begin(), globs.list()->end(),
                                    [](const Value& glob) { return glob.text() != nullptr; });
      if (!fits) return fail(path, "towers", "expected a table of lists of texts"), result;
      for (const Value& glob : *globs.list()) list.push_back(*glob.text());
      result.emplace_back(tower, std::move(list));
    }
    return result;
  }

  bool flag(const std::string& path, const std::string& key) {
    if (!has(path, key)) return false;
    const bool* value = at(path, key).boolean();
    if (value == nullptr)
      fail(path, key,
           absl::StrCat("found ", at(path, key).type_name(), ", expected true or false"));
    return value != nullptr && *value;
  }

  std::optional<double> number(const std::string& path, const std::string& key) {
    if (!has(path, key)) return std::nullopt;
    double value = 0;
    if (at(path, key).number(&value)) return value;
    fail(path, key, absl::StrCat("found ", at(path, key).type_name(), ", expected a number"));
    return std::nullopt;
  }

  void check_keys(const std::string& path, const std::vector<std::string>& known,
                  const std::string& what) {
    for (const auto& [key, value] : *table(path).table()) {
      if (std::count(known.begin(), known.end(), key) > 0) continue;
      fail(path, key, absl::StrCat("is no key of ", what, suggestion(key, known)));
    }
  }

  void fail(const std::string& path, const std::string& key, const std::string& text) {
    if (!status_.ok()) return;
    const std::string place = document_.place(key.empty() ? path : join_path(path, key)).key.text();
    status_ =
        absl::InvalidArgumentError(key.empty() ? absl::StrCat(place, ": ", text)
                                               : absl::StrCat(place, ": \"", key, "\": ", text));
  }

  const Document& document_;
  absl::Status status_;
};

}  // namespace

const std::vector<std::string>& component_kinds() {
  static const auto* const kinds =
      new std::vector<std::string>{"model", "algorithm", "evaluator", "exporter", "format"};
  return *kinds;
}

std::string interface_of(const std::string& kind) {
  for (const char* const known : kInterfaces) {
    if (absl::StartsWith(known, kind + "/")) return known;
  }
  return "";
}

std::string interface_difference(const Manifest& manifest) {
  for (const ComponentManifest& component : manifest.components) {
    const std::string ours = interface_of(component.kind);
    if (component.interface == ours) continue;
    return absl::StrCat(component.kind, " \"", component.name, "\" has interface ",
                        component.interface, ", this host knows ", ours,
                        "; build the plugin again with this host's SDK, and hold its code against "
                        "the changes of that interface (docs/abi.md)");
  }
  return "";
}

std::vector<ParamManifest> keys_in(const std::vector<ParamManifest>& params,
                                   const std::string& table) {
  std::vector<ParamManifest> keys;
  for (const ParamManifest& param : params) {
    if (stands_in(param, table)) keys.push_back(param);
  }
  return keys;
}

absl::StatusOr<Manifest> parse_manifest(std::string_view toml, const std::string& origin) {
  SWAGE_ASSIGN_OR_RETURN(const Document document, parse_toml(toml, origin));
  return ManifestReader(document).read();
}

}  // namespace swage
