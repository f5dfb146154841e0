#include "core/catalog/manifest.h"

#include <algorithm>
#include <regex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/config/toml_reader.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

const std::vector<std::string> kKinds = {"model", "algorithm", "evaluator", "exporter"};
const std::vector<std::string> kTypes = {"bool", "int",    "float",  "string",
                                         "path", "choice", "strings"};

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
  if (kind == "exporter") own = {"quant_method"};
  keys.insert(keys.end(), own.begin(), own.end());
  return keys;
}

std::vector<std::string> param_keys(const std::string& type) {
  std::vector<std::string> keys = {"name", "type", "help", "default", "optional"};
  if (type == "int" || type == "float") keys.insert(keys.end(), {"min", "max"});
  if (type == "choice") keys.push_back("choices");
  return keys;
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
    result.kind = one_of(path, "kind", kKinds);
    check_keys(path, component_keys(result.kind), "a component of this kind");
    result.name = identifier(path, "name");
    result.interface = text(path, "interface");
    if (!std::regex_match(result.interface, std::regex(result.kind + "/[1-9][0-9]{0,5}"))) {
      fail(path, "interface",
           absl::StrCat("found \"", result.interface, "\", expected \"", result.kind, "/1\""));
    }
    result.summary = text(path, "summary");
    result.schemes = texts(path, "schemes");
    for (const std::string& scheme : result.schemes) {
      if (scheme != "weight" && scheme != "activation") {
        fail(path, "schemes",
             absl::StrCat("found \"", scheme, "\", expected \"weight\" or \"activation\""));
      }
    }
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
    const size_t count = tables(path, "param");
    std::set<std::string> names;
    for (size_t i = 0; i < count; ++i) {
      const std::string at = absl::StrCat(path, ".param[", i, "]");
      result.params.push_back(param(at));
      if (!names.insert(result.params.back().name).second) {
        fail(at, "name", absl::StrCat("a second parameter \"", result.params.back().name, "\""));
      }
    }
    return result;
  }

  ParamManifest param(const std::string& path) {
    ParamManifest result;
    result.name = identifier(path, "name");
    result.type = one_of(path, "type", kTypes);
    check_keys(path, param_keys(result.type), absl::StrCat("a parameter of type ", result.type));
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
    return result;
  }

  Value default_of(const std::string& path, const ParamManifest& param) {
    Value value = at(path, "default");
    double real = 0;
    const bool fits =
        param.type == "bool"    ? value.boolean() != nullptr
        : param.type == "int"   ? value.integer() != nullptr
        : param.type == "float" ? value.number(&real)
        : param.type == "strings"
            ? value.list() != nullptr && texts(path, "default").size() == value.list()->size()
            : value.text() != nullptr;
    if (!fits) {
      fail(path, "default",
           absl::StrCat("found ", value.type_name(), ", expected a value of type ", param.type));
      return {};
    }
    if (param.type == "float") value = Value(real);
    const bool bounded = param.minimum || param.maximum;
    if (bounded && value.number(&real) &&
        (real < param.minimum.value_or(real) || real > param.maximum.value_or(real))) {
      fail(path, "default", absl::StrCat("the default ", real, " is outside of min and max"));
    }
    if (param.type == "choice" &&
        std::count(param.choices.begin(), param.choices.end(), *value.text()) == 0) {
      fail(path, "default",
           absl::StrCat("the default \"", *value.text(), "\" is none of the choices ",
                        absl::StrJoin(param.choices, ", ")));
    }
    return value;
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

absl::StatusOr<Manifest> parse_manifest(std::string_view toml, const std::string& origin) {
  SWAGE_ASSIGN_OR_RETURN(const Document document, parse_toml(toml, origin));
  return ManifestReader(document).read();
}

}  // namespace swage
