#include "core/serve/engine_profile.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/glob.h"
#include "core/base/suggest.h"
#include "core/config/param_check.h"
#include "core/config/toml_reader.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr ServedPlace kPlaces[] = {ServedPlace::kLinear, ServedPlace::kExpert, ServedPlace::kHead,
                                   ServedPlace::kEmbedding};

constexpr char kCache[] = "kv";

// Reads one profile; the first mistake wins and later reads do nothing.
class ProfileReader {
 public:
  ProfileReader(const Document& document, const Formats* formats)
      : document_(document), formats_(formats) {}

  absl::StatusOr<EngineProfile> read() {
    EngineProfile profile;
    const Value& root = document_.root;
    check_keys(
        root, "",
        {"engine", "summary", "family", "never", "fused", "experts", "tensor_parallel", "export"});
    profile.engine = text(root, "", "engine");
    profile.summary = text(root, "", "summary");
    if (root.has("family")) profile.family = text(root, "", "family");
    profile.never = globs(root, "", "never");
    read_fused(root, &profile);
    read_experts(root["experts"], &profile);
    read_split(root["tensor_parallel"], &profile);
    const Value::List exports = tables(root, "", "export");
    if (exports.empty()) fail("", "there is no [[export]]");
    for (size_t i = 0; i < exports.size(); ++i) {
      profile.exports.push_back(read_export(exports[i], absl::StrCat("export[", i, "]")));
      const std::string& use = profile.exports.back().use;
      if (profile.find(use) != &profile.exports.back())
        fail(absl::StrCat("export[", i, "].use"), absl::StrCat("a second export \"", use, "\""));
    }
    if (!status_.ok()) return status_;
    return profile;
  }

 private:
  void read_fused(const Value& root, EngineProfile* profile) {
    const Value::List sets = list(root, "", "fused");
    for (size_t i = 0; i < sets.size(); ++i) {
      const std::string path = absl::StrCat("fused[", i, "]");
      std::vector<std::string> members = words(sets[i], path);
      if (members.size() < 2) fail(path, "expected a list of at least two names");
      profile->fused.push_back(std::move(members));
    }
  }

  void read_experts(const Value& table, EngineProfile* profile) {
    if (table.is_null()) return;
    check_keys(table, "experts", {"under", "by"});
    profile->experts = text(table, "experts", "under");
    const std::string by = table.has("by") ? text(table, "experts", "by") : "layer";
    if (by != "layer" && by != "projection" && by != "model")
      fail("experts.by", absl::StrCat("found \"", by, "\", expected layer, projection or model"));
    using By = EngineProfile::Experts;
    profile->experts_by = by == "projection" ? By::kProjection
                          : by == "model"    ? By::kModel
                                             : By::kLayer;
  }

  void read_split(const Value& table, EngineProfile* profile) {
    if (table.is_null()) return;
    check_keys(table, "tensor_parallel", {"column", "row", "kv"});
    profile->splits = true;
    profile->split.column = globs(table, "tensor_parallel", "column");
    profile->split.row = globs(table, "tensor_parallel", "row");
    profile->split.kv = globs(table, "tensor_parallel", "kv");
  }

  ExportRules read_export(const Value& table, const std::string& path) {
    ExportRules rules;
    check_keys(table, path,
               {"use", "refused", "floats", "one_scheme", "whole", "act_order", "masks",
                "transforms", "kv", "accept"});
    rules.use = text(table, path, "use");
    if (table.has("refused")) rules.refused = text(table, path, "refused");
    rules.floats = flag(table, path, "floats");
    rules.one_scheme = flag(table, path, "one_scheme");
    rules.whole = flag(table, path, "whole");
    rules.act_order = flag(table, path, "act_order");
    rules.masks = flag(table, path, "masks");
    read_transforms(table, path, &rules);
    const Value::List kv = table.has("kv") ? list_of(table["kv"]) : Value::List{};
    for (const Value& one : kv) rules.kv.push_back(conditions(one, join_path(path, "kv"), kCache));
    const Value::List accepts = tables(table, path, "accept");
    for (size_t i = 0; i < accepts.size(); ++i)
      rules.accepts.push_back(read_accept(accepts[i], absl::StrCat(path, ".accept[", i, "]")));
    const int said =
        (rules.refused.empty() ? 0 : 1) + (rules.floats ? 1 : 0) + (rules.accepts.empty() ? 0 : 1);
    if (said != 1)
      fail(path, "expected either [[export.accept]], floats = true or refused = \"…\"");
    return rules;
  }

  void read_transforms(const Value& table, const std::string& path, ExportRules* rules) {
    if (!table.has("transforms")) return;
    const std::string word = text(table, path, "transforms");
    rules->transforms = word == "yes" || word == "one device";
    rules->transforms_alone = word == "one device";
    if (!rules->transforms && word != "no")
      fail(join_path(path, "transforms"),
           absl::StrCat("found \"", word, "\", expected no, one device or yes"));
  }

  AcceptRule read_accept(const Value& table, const std::string& path) {
    AcceptRule rule;
    check_keys(table, path,
               {"weight", "activation", "places", "device", "scales", "joined", "out_multiple",
                "in_multiple"});
    rule.weight = conditions(table["weight"], join_path(path, "weight"), "weight");
    if (rule.weight.count("format") == 0) fail(join_path(path, "weight"), "says no format");
    for (const Value& one : list_of(table.has("activation") ? table["activation"] : "none")) {
      const bool none = one.text() != nullptr && *one.text() == "none";
      rule.activations.push_back(
          none ? SchemeConditions{} : conditions(one, join_path(path, "activation"), "activation"));
    }
    read_places(table, path, &rule);
    for (const std::string& word : words(table["device"], join_path(path, "device"))) {
      auto range = parse_device_range(word);
      if (!range.ok()) fail(join_path(path, "device"), std::string(range.status().message()));
      if (range.ok()) rule.devices.push_back(*std::move(range));
    }
    rule.scale_types = words(table["scales"], join_path(path, "scales"));
    for (const std::string& type : rule.scale_types) {
      if (type != "fp16" && type != "bf16" && type != "fp32")
        fail(join_path(path, "scales"),
             absl::StrCat("found \"", type, "\", expected fp16, bf16 or fp32"));
    }
    if (table.has("joined")) {
      SchemeConditions formats = {{"format", rule.weight["format"]}};
      rule.joined = conditions(table["joined"], join_path(path, "joined"), "weight", formats);
    }
    rule.out_multiple = multiple(table, path, "out_multiple");
    rule.in_multiple = multiple(table, path, "in_multiple");
    return rule;
  }

  void read_places(const Value& table, const std::string& path, AcceptRule* rule) {
    rule->places = {ServedPlace::kLinear, ServedPlace::kExpert};
    if (!table.has("places")) return;
    rule->places.clear();
    for (const std::string& word : words(table["places"], join_path(path, "places"))) {
      const auto it = std::find_if(std::begin(kPlaces), std::end(kPlaces),
                                   [&](ServedPlace place) { return word == name_of(place); });
      if (it != std::end(kPlaces))
        rule->places.push_back(*it);
      else
        fail(join_path(path, "places"),
             absl::StrCat("found \"", word, "\", expected linear, expert, head or embedding"));
    }
  }

  // `kind`: "weight" or "activation", by whose keys conditions are checked, or kCache, whose
  // schemes no format declares.
  SchemeConditions conditions(const Value& value, const std::string& path, const std::string& kind,
                              const SchemeConditions& known = {}) {
    SchemeConditions result;
    if (value.table() == nullptr || value.table()->empty())
      return fail(path, "expected a table of keys and the values they may have"), result;
    for (const auto& [key, wanted] : *value.table()) {
      result[key] = list_of(wanted);
      if (result[key].empty()) fail(path, absl::StrCat("\"", key, "\" has no values"));
    }
    SchemeConditions all = result;
    all.insert(known.begin(), known.end());
    check_conditions(all, path, kind);
    return result;
  }

  // Every key is one of the formats', and every value one that the key can have.
  void check_conditions(const SchemeConditions& conditions, const std::string& path,
                        const std::string& kind) {
    const auto formats = conditions.find("format");
    if (formats_ == nullptr || kind == kCache || formats == conditions.end()) return;
    std::vector<const ParamManifest*> params;
    std::vector<std::string> names = {"format"};
    for (const Value& name : formats->second) {
      if (name.text() == nullptr) return fail(path, "\"format\" expects names of formats");
      const Formats::Format* const format = formats_->find(*name.text());
      if (format == nullptr) return;  // a plugin's, perhaps
      for (const auto& [table, keys] : format->keys) {
        if (table != kind) continue;
        for (const ParamManifest& key : keys) {
          params.push_back(&key);
          names.push_back(key.name);
        }
      }
    }
    for (const auto& [key, values] : conditions) {
      if (key == "format") continue;
      if (std::find(names.begin(), names.end(), key) == names.end())
        return fail(path, absl::StrCat("\"", key, "\" is no key of ", texts_of(formats->second),
                                       suggestion(key, names)));
      for (const Value& value : values) {
        const bool fits = std::any_of(params.begin(), params.end(), [&](const ParamManifest* one) {
          std::string wrong;
          return one->name == key && checked_value(*one, value, &wrong) == value;
        });
        if (!fits) fail(path, absl::StrCat("\"", key, "\" cannot be ", to_json(value, -1)));
      }
    }
  }

  static std::string texts_of(const Value::List& values) {
    return absl::StrJoin(values, ", ", [](std::string* out, const Value& value) {
      out->append(to_json(value, -1));
    });
  }

  static Value::List list_of(const Value& value) {
    if (value.is_null()) return {};
    return value.list() != nullptr ? *value.list() : Value::List{value};
  }

  std::vector<std::string> words(const Value& value, const std::string& path) {
    std::vector<std::string> result;
    for (const Value& word : list_of(value)) {
      if (word.text() == nullptr || word.text()->empty())
        return fail(path, "expected texts that are not empty"), result;
      result.push_back(*word.text());
    }
    return result;
  }

  std::vector<std::string> globs(const Value& table, const std::string& path,
                                 const std::string& key) {
    const std::string place = join_path(path, key);
    std::vector<std::string> result = words(table[key], place);
    for (const std::string& glob : result) {
      if (const absl::Status status = check_glob(glob); !status.ok())
        fail(place, std::string(status.message()));
    }
    return result;
  }

  std::string text(const Value& table, const std::string& path, const std::string& key) {
    const std::string* value = table[key].text();
    if (value != nullptr && !value->empty()) return *value;
    fail(join_path(path, key), table.has(key) ? "expected a text that is not empty" : "is missing");
    return "";
  }

  bool flag(const Value& table, const std::string& path, const std::string& key) {
    if (!table.has(key)) return false;
    const bool* value = table[key].boolean();
    if (value == nullptr) fail(join_path(path, key), "expected true or false");
    return value != nullptr && *value;
  }

  int64_t multiple(const Value& table, const std::string& path, const std::string& key) {
    if (!table.has(key)) return 1;
    const int64_t* value = table[key].integer();
    if (value != nullptr && *value >= 1) return *value;
    fail(join_path(path, key), "expected an integer of at least 1");
    return 1;
  }

  Value::List list(const Value& table, const std::string& path, const std::string& key) {
    if (!table.has(key)) return {};
    if (table[key].list() != nullptr) return *table[key].list();
    fail(join_path(path, key), "expected a list");
    return {};
  }

  Value::List tables(const Value& table, const std::string& path, const std::string& key) {
    Value::List result = list(table, path, key);
    for (const Value& item : result) {
      if (item.table() == nullptr)
        return fail(join_path(path, key), "expected tables"), Value::List{};
    }
    return result;
  }

  void check_keys(const Value& table, const std::string& path,
                  const std::vector<std::string>& known) {
    if (table.table() == nullptr) return fail(path, "expected a table");
    for (const auto& [key, value] : *table.table()) {
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(join_path(path, key),
             absl::StrCat("is no key of an engine profile", suggestion(key, known)));
    }
  }

  void fail(const std::string& path, const std::string& text) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat(
        document_.place(path).key.text(), ": ", path.empty() ? "" : "\"" + path + "\": ", text));
  }

  const Document& document_;
  const Formats* const formats_;
  absl::Status status_;
};

}  // namespace

const char* name_of(ServedPlace place) {
  switch (place) {
    case ServedPlace::kLinear:
      return "linear";
    case ServedPlace::kExpert:
      return "expert";
    case ServedPlace::kHead:
      return "head";
    case ServedPlace::kEmbedding:
      return "embedding";
  }
  return "";
}

const ExportRules* EngineProfile::find(std::string_view use) const {
  const auto it = std::find_if(exports.begin(), exports.end(),
                               [&](const ExportRules& rules) { return rules.use == use; });
  return it == exports.end() ? nullptr : &*it;
}

absl::StatusOr<EngineProfile> parse_engine_profile(std::string_view toml, const std::string& name,
                                                   const std::string& origin,
                                                   const Formats* formats) {
  SWAGE_ASSIGN_OR_RETURN(const Document document, parse_toml(toml, origin));
  SWAGE_ASSIGN_OR_RETURN(EngineProfile profile, ProfileReader(document, formats).read());
  profile.name = name;
  profile.file = origin;
  return profile;
}

}  // namespace swage
