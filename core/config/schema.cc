#include "core/config/schema.h"

#include <algorithm>

#include "core/config/keys.h"

namespace swage {
namespace {

using Table = Value::Table;

Value strings_schema() {
  const Value text(Table{{"type", "string"}});
  return Value(
      Table{{"oneOf", Value::List{text, Value(Table{{"type", "array"}, {"items", text}})}}});
}

Value param_schema(const ParamManifest& param) {
  Table schema;
  if (param.type == "bool")
    schema["type"] = "boolean";
  else if (param.type == "int")
    schema["type"] = "integer";
  else if (param.type == "float")
    schema["type"] = "number";
  else if (param.type == "strings")
    schema = *strings_schema().table();
  else
    schema["type"] = "string";
  if (param.type == "choice")
    schema["enum"] = Value::List(param.choices.begin(), param.choices.end());
  const auto bound = [&](double limit) {
    return param.type == "int" ? Value(static_cast<int64_t>(limit)) : Value(limit);
  };
  if (param.minimum) schema["minimum"] = bound(*param.minimum);
  if (param.maximum) schema["maximum"] = bound(*param.maximum);
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

Value scheme_schema(const std::string& table) {
  TableSchema schema;
  for (const ParamManifest& key : scheme_keys(table)) schema.add(key);
  return std::move(schema).value(table == "weight" ? "How weights are stored."
                                                   : "How the inputs of linears are quantized.");
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

Value component_schema(const Section& section, const ComponentManifest& component) {
  TableSchema schema;
  for (const ParamManifest& key : section.keys) schema.add(key);
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
  Value::List names, rules;
  for (const PluginEntry& plugin : catalog.plugins()) {
    if (plugin.state != PluginState::kCompatible) continue;
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind != section.kind) continue;
      names.push_back(component.name);
      const Table use{{"properties", Table{{"use", Table{{"const", component.name}}}}},
                      {"required", Value::List{"use"}}};
      rules.push_back(Table{{"if", use}, {"then", component_schema(section, component)}});
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
  table["$defs"] =
      Table{{"weight", scheme_schema("weight")}, {"activation", scheme_schema("activation")}};
  return result;
}

}  // namespace swage
