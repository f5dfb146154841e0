// What a `weight` or `activation` table says, under the manifest of its format.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/config/foreign_names.h"
#include "core/config/formats.h"
#include "core/config/param_check.h"
#include "swage/suggest.h"

namespace swage {
namespace {

bool allows(const ParamManifest::Condition& condition, const Value& value) {
  return std::count(condition.values.begin(), condition.values.end(), value) > 0;
}

class SchemeReader {
 public:
  SchemeReader(const Formats& formats, const std::string& table,
               std::vector<SchemeProblem>* problems)
      : formats_(formats), table_(table), problems_(problems) {}

  Scheme read(const Value& given, const Scheme& base) {
    const size_t before = problems_->size();
    if (!given.is_null() && given.table() == nullptr) {
      add("", absl::StrCat("a scheme is a table such as { bits = 4 }, found ", type_of(given),
                           format_alone(given)));
      return base;
    }
    const std::string name = format_of(given, base);
    format_ = formats_.find(name);
    if (format_ == nullptr || format_->keys.count(table_) == 0) return refuse(name), base;
    keys_ = &format_->keys.at(table_);
    if (name == base.format) values_ = base.keys;
    take(given);
    for (const ParamManifest& key : *keys_) {
      if (stated_.count(key.name) > 0)
        settle(key.when, absl::StrCat("\"", key.name, "\""), key.name);
    }
    Scheme scheme{name, filled()};
    return problems_->size() == before ? scheme : base;
  }

 private:
  void add(const std::string& key, const std::string& text, ExitCode code = ExitCode::kPipeline) {
    problems_->push_back({key, text, code});
  }

  // weight = "nvfp4"
  std::string format_alone(const Value& given) const {
    if (given.text() == nullptr || formats_.find(*given.text()) == nullptr) return "";
    return absl::StrCat("; write ", table_, " = { format = \"", *given.text(), "\" }");
  }

  std::string format_of(const Value& given, const Scheme& base) const {
    const Value& format = given["format"];
    if (format.is_null()) return base.format;
    return format.text() == nullptr ? "" : *format.text();
  }

  void refuse(const std::string& name) {
    ExitCode code = ExitCode::kPipeline;
    const std::string text = name.empty()
                                 ? "\"format\" is the name of a number format, such as \"int\""
                                 : formats_.why_not(name, table_, &code);
    add("format", text, code);
  }

  const ParamManifest* find(const std::string& name) const {
    const auto it = std::find_if(keys_->begin(), keys_->end(),
                                 [&](const ParamManifest& key) { return key.name == name; });
    return it == keys_->end() ? nullptr : &*it;
  }

  // What the table states, checked key by key; all of it is looked at, so that one look shows all
  // mistakes.
  void take(const Value& given) {
    if (given.table() == nullptr) return;
    for (const auto& [name, value] : *given.table()) {
      if (name == "format") continue;
      const ParamManifest* const key = find(name);
      if (key == nullptr) {
        add(name, unknown(name));
        continue;
      }
      std::string wrong;
      Value checked = checked_value(*key, value, &wrong);
      if (wrong.empty()) {
        values_[name] = stated_[name] = std::move(checked);
      } else {
        add(name, absl::StrCat("\"", name, "\" is ", wrong, "; expected ", describe_type(*key),
                               foreign_value(name, value)));
      }
    }
  }

  std::string unknown(const std::string& name) const {
    std::vector<std::string> words = {"format"}, elsewhere;
    for (const ParamManifest& key : *keys_) words.push_back(key.name);
    for (const Formats::Format* format : formats_.in(table_)) {
      const std::vector<ParamManifest>& keys = format->keys.at(table_);
      if (std::any_of(keys.begin(), keys.end(),
                      [&](const ParamManifest& key) { return key.name == name; }))
        elsewhere.push_back(absl::StrCat("\"", format->name, "\""));
    }
    std::sort(words.begin(), words.end());
    std::string hint = foreign_key(name, words, suggestion(name, words));
    // What another tool's key is called here helps only where this format has it.
    const std::vector<std::string> all = known_scheme_keys(table_);
    const std::string ours = own_key(name);
    const auto holds = [&ours](const std::vector<std::string>& keys) {
      return std::find(keys.begin(), keys.end(), ours) != keys.end();
    };
    if (holds(all) && !holds(words))
      hint = absl::StrCat("; this format has no key for that, its keys are ",
                          absl::StrJoin(words, ", "));
    if (!elsewhere.empty()) {
      constexpr size_t kShown = 4;
      const bool more = elsewhere.size() > kShown;
      if (more) elsewhere.resize(kShown);
      hint = absl::StrCat("; it is one of format ", absl::StrJoin(elsewhere, ", "),
                          more ? ", …" : "", ", here are ", absl::StrJoin(words, ", "));
    }
    return absl::StrCat("\"", name, "\" is no key of ", table_, " = { format = \"", format_->name,
                        "\" }", hint);
  }

  Value current(const std::string& name) const {
    const auto it = values_.find(name);
    if (it != values_.end()) return it->second;
    const ParamManifest* const key = find(name);
    return key == nullptr ? Value() : key->default_value;
  }

  // Makes conditions hold for `who`; what the table states does not give way.
  void settle(const ParamManifest::Conditions& conditions, const std::string& who,
              const std::string& at) {
    for (const ParamManifest::Condition& condition : conditions) {
      const Value now = current(condition.key);
      const auto other = relied_.find(condition.key);
      if (!allows(condition, now)) {
        if (stated_.count(condition.key) > 0 || other != relied_.end()) {
          const std::string found =
              stated_.count(condition.key) > 0
                  ? absl::StrCat("found ", to_json(now, -1))
                  : absl::StrCat("but ", other->second, " beside it needs ", to_json(now, -1));
          add(at, absl::StrCat(who, " needs ", condition_text(condition), ", ", found));
          continue;
        }
        values_[condition.key] = condition.values.front();
      }
      if (other == relied_.end()) relied_[condition.key] = who;
      if (const ParamManifest* const key = find(condition.key)) settle(key->when, who, at);
    }
  }

  // Every key whose conditions hold, in the order of the manifest, which declares what a condition
  // speaks of first.
  Value::Table filled() {
    Value::Table result;
    const auto holds = [&](const ParamManifest::Condition& condition) {
      const auto it = result.find(condition.key);
      return it != result.end() && allows(condition, it->second);
    };
    for (const ParamManifest& key : *keys_) {
      if (!std::all_of(key.when.begin(), key.when.end(), holds)) continue;
      Value value = current(key.name);
      if (value.is_null()) {
        if (!key.optional)
          add("", absl::StrCat("format \"", format_->name, "\" lacks \"", key.name, "\", ",
                               describe_type(key), ": ", key.help));
        continue;
      }
      for (const auto& [needy, conditions] : key.needs) {
        if (needy != value) continue;
        for (const ParamManifest::Condition& condition : conditions) {
          if (!holds(condition)) add_need(key.name, value, condition, result);
        }
      }
      result[key.name] = std::move(value);
    }
    return result;
  }

  void add_need(const std::string& name, const Value& value,
                const ParamManifest::Condition& condition, const Value::Table& result) {
    const auto found = result.find(condition.key);
    add(stated_.count(name) > 0 ? name : condition.key,
        absl::StrCat(name, " = ", to_json(value, -1), " needs ", condition_text(condition),
                     found == result.end() ? "" : ", found " + to_json(found->second, -1)));
  }

  const Formats& formats_;
  const std::string& table_;
  std::vector<SchemeProblem>* problems_;
  const Formats::Format* format_ = nullptr;
  const std::vector<ParamManifest>* keys_ = nullptr;
  Value::Table values_;  // the base's, under what is stated or follows from it
  Value::Table stated_;
  std::map<std::string, std::string> relied_;  // keys that others need as they are, and which
};

}  // namespace

Scheme read_scheme(const Formats& formats, const std::string& table, const Value& given,
                   const Scheme& base, std::vector<SchemeProblem>* problems) {
  return SchemeReader(formats, table, problems).read(given, base);
}

}  // namespace swage
