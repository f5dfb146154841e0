#include "core/config/schema.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/config/formats.h"
#include "core/config/keys.h"
#include "core/serve/engine_search.h"

namespace swage {
namespace {

using Table = Value::Table;

// One item, or a list of them.
Value list_schema(const Value& item) {
  return Value(
      Table{{"oneOf", Value::List{item, Value(Table{{"type", "array"}, {"items", item}})}}});
}

Value strings_schema() { return list_schema(Value(Table{{"type", "string"}})); }

// The bounds of a number.
void add_bounds(const ParamManifest& param, Table* schema) {
  const auto bound = [&](double limit) {
    return param.type == "int" ? Value(static_cast<int64_t>(limit)) : Value(limit);
  };
  if (param.minimum) (*schema)["minimum"] = bound(*param.minimum);
  if (param.maximum) (*schema)["maximum"] = bound(*param.maximum);
}

Value numbers_schema(const ParamManifest& param) {
  Table number{{"type", "number"}};
  add_bounds(param, &number);
  return list_schema(Value(std::move(number)));
}

Value param_schema(const ParamManifest& param) {
  Table schema;
  if (param.type == "bool")
    schema["type"] = "boolean";
  else if (param.type == "table")
    schema["type"] = "object";
  else if (param.type == "int")
    schema["type"] = "integer";
  else if (param.type == "float")
    schema["type"] = "number";
  else if (param.type == "strings")
    schema = *strings_schema().table();
  else if (param.type == "numbers")
    schema = *numbers_schema(param).table();
  else
    schema["type"] = "string";
  if (param.type == "choice")
    schema["enum"] = Value::List(param.choices.begin(), param.choices.end());
  if (param.type == "int" || param.type == "float") add_bounds(param, &schema);
  if (!param.default_value.is_null()) schema["default"] = param.default_value;
  schema["description"] = param.help;
  return Value(std::move(schema));
}

// A closed table: properties, and those of them that must be there.
class TableSchema {
 public:
  void add(const ParamManifest& param) {
    properties_[param.name] = param_schema(param);
    if (param.default_value.is_null() && !param.optional) required_.push_back(param.name);
  }
  void add(const std::string& name, Value schema) { properties_[name] = std::move(schema); }
  Value value(const std::string& description) && {
    Table schema{{"type", "object"}, {"description", description}, {"additionalProperties", false}};
    schema["properties"] = std::move(properties_);
    if (!required_.empty()) schema["required"] = std::move(required_);
    return Value(std::move(schema));
  }

 private:
  Table properties_;
  Value::List required_;
};

Value reference(const std::string& name) { return Value(Table{{"$ref", "#/$defs/" + name}}); }

// What a condition asks, for the text that an editor shows.
std::string with_conditions(const ParamManifest& key) {
  std::string text = key.help;
  for (const ParamManifest::Condition& condition : key.when)
    absl::StrAppend(&text, " Only with ", condition_text(condition), ".");
  return text;
}

Value key_schema(ParamManifest key) {
  key.help = with_conditions(key);
  return param_schema(key);
}

// The keys of one format.
Value format_schema(const Formats::Format& format, const std::string& table) {
  TableSchema schema;
  for (const ParamManifest& key : format.keys.at(table)) schema.add(key.name, key_schema(key));
  schema.add("format", Value(Table{{"const", format.name}, {"description", format.summary}}));
  return std::move(schema).value(format.summary);
}

// A table that names no format is of the format that it stands over: any key of any.
Value any_format_schema(const std::vector<const Formats::Format*>& formats,
                        const std::string& table) {
  std::map<std::string, Value::List> meanings;
  for (const Formats::Format* format : formats) {
    for (const ParamManifest& key : format->keys.at(table)) {
      Value schema = key_schema(key);
      Value::List& known = meanings[key.name];
      if (std::find(known.begin(), known.end(), schema) == known.end())
        known.push_back(std::move(schema));
    }
  }
  TableSchema schema;
  for (auto& [key, known] : meanings) {
    schema.add(key, known.size() == 1 ? known.front() : Value(Table{{"anyOf", std::move(known)}}));
  }
  return std::move(schema).value("Keys of the format that holds here already.");
}

// `format` decides which table it is, as `use` does for a step.
Value scheme_schema(const Formats& all, const std::string& table) {
  const std::vector<const Formats::Format*> formats = all.in(table);
  Value::List names, rules;
  for (const Formats::Format* format : formats) {
    names.push_back(format->name);
    const Table is{{"properties", Table{{"format", Table{{"const", format->name}}}}},
                   {"required", Value::List{"format"}}};
    rules.push_back(Table{{"if", is}, {"then", format_schema(*format, table)}});
  }
  rules.push_back(Table{{"if", Table{{"not", Table{{"required", Value::List{"format"}}}}}},
                        {"then", any_format_schema(formats, table)}});
  const Table format{{"enum", std::move(names)}, {"description", "Number format."}};
  return Value(
      Table{{"type", "object"},
            {"description", table == "weight" ? "How weights are stored."
                                              : "How the inputs of linears are quantized."},
            {"properties", Table{{"format", format}}},
            {"allOf", std::move(rules)}});
}

// Scheme tables of a section that this component may carry.
std::vector<std::string> tables_of(const Section& section, const ComponentManifest& component) {
  std::vector<std::string> tables;
  for (const std::string& table : section.scheme_tables) {
    const auto& own = component.schemes;
    if (std::find(own.begin(), own.end(), table) != own.end()) tables.push_back(table);
  }
  return tables;
}

Value override_schema(const std::vector<std::string>& tables) {
  TableSchema schema;
  for (const ParamManifest& key : override_keys()) schema.add(key);
  for (const std::string& table : tables) schema.add(table, reference(table));
  return Value(
      Table{{"type", "array"},
            {"items", std::move(schema).value("Other schemes for some linears of the step.")}});
}

// `engines`: what `serve` may name.
Value component_schema(const Section& section, const ComponentManifest& component,
                       const std::vector<std::string>& engines) {
  TableSchema schema;
  for (ParamManifest key : section.keys) {
    if (key.name == "serve" && !engines.empty()) {
      key.type = "choice";
      key.choices = engines;
    }
    schema.add(key);
  }
  for (const ParamManifest& param : component.params) schema.add(param);
  const std::vector<std::string> tables = tables_of(section, component);
  for (const std::string& table : tables) schema.add(table, reference(table));
  if (section.name == "step") schema.add("override", override_schema(tables));
  schema.add("use", Value(Table{{"const", component.name}, {"description", component.summary}}));
  return std::move(schema).value(component.summary);
}

// `use` decides which table an entry is, so that an editor reports a mistake at its key instead of
// saying that none of many tables fits.
Value entries(const Section& section, const Catalog& catalog) {
  const std::vector<std::string> engines = engine_names(engine_search_path(catalog));
  Value::List names, rules;
  for (const PluginEntry& plugin : catalog.plugins()) {
    if (plugin.state != PluginState::kCompatible) continue;
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind != section.kind) continue;
      names.push_back(component.name);
      const Table use{{"properties", Table{{"use", Table{{"const", component.name}}}}},
                      {"required", Value::List{"use"}}};
      rules.push_back(Table{{"if", use}, {"then", component_schema(section, component, engines)}});
    }
  }
  Table items{{"type", "object"}, {"required", Value::List{"use"}}};
  if (names.empty()) return Value(std::move(items));
  items["properties"] =
      Table{{"use", Table{{"enum", std::move(names)}, {"description", "Name of the component."}}}};
  items["allOf"] = std::move(rules);
  return Value(std::move(items));
}

Value section_schema(const Section& section, const Catalog& catalog) {
  if (!section.is_list) {
    TableSchema schema;
    for (const ParamManifest& key : section.keys) schema.add(key);
    for (const std::string& table : section.scheme_tables) schema.add(table, reference(table));
    Value table = std::move(schema).value(section.summary);
    table.table()->erase("required");  // may stand in an included file
    return table;
  }
  return Value(Table{
      {"type", "array"}, {"description", section.summary}, {"items", entries(section, catalog)}});
}

}  // namespace

Value pipeline_schema(const Catalog& catalog) {
  TableSchema schema;
  for (const Section& section : sections())
    schema.add(section.name, section_schema(section, catalog));
  schema.add("include", strings_schema());
  Value result = std::move(schema).value("A swage pipeline");
  Table& table = *result.table();
  table["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  table["title"] = "swage pipeline";
  // A file that includes others may leave to them what a whole one needs.
  const Table includes{{"required", Value::List{"include"}}};
  Table needed;
  for (const Section& section : sections()) {
    Value::List keys;
    for (const ParamManifest& key : section.keys) {
      if (key.default_value.is_null() && !key.optional) keys.push_back(key.name);
    }
    if (!section.is_list && !keys.empty())
      needed[section.name] = Table{{"required", std::move(keys)}};
  }
  table["if"] = Table{{"not", includes}};
  table["then"] = Table{{"required", Value::List{"model"}}, {"properties", std::move(needed)}};
  const Formats formats(catalog);
  table["$defs"] = Table{{"weight", scheme_schema(formats, "weight")},
                         {"activation", scheme_schema(formats, "activation")}};
  return result;
}

}  // namespace swage
