#include "core/config/param_check.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/suggest.h"
#include "core/config/foreign_names.h"

namespace swage {
namespace {

std::string quoted(const std::vector<std::string>& words) {
  return absl::StrJoin(words, ", ", [](std::string* out, const std::string& word) {
    absl::StrAppend(out, "\"", word, "\"");
  });
}

// 1048576 and 0.01, not 1.04858e+06.
std::string number_text(double number) {
  const bool whole = number == std::floor(number) && std::fabs(number) < 1e15;
  return whole ? absl::StrCat(static_cast<int64_t>(number)) : absl::StrCat(number);
}

std::string bounds(const ParamManifest& param) {
  if (param.minimum && param.maximum)
    return absl::StrCat(number_text(*param.minimum), " to ", number_text(*param.maximum));
  if (param.minimum) return absl::StrCat("at least ", number_text(*param.minimum));
  return param.maximum ? absl::StrCat("at most ", number_text(*param.maximum)) : "";
}

// A checked number, or null with `wrong` set to what a message says of the value found.
Value checked_number(const ParamManifest& param, const Value& value, std::string* wrong) {
  double number = 0;
  const bool typed = param.type == "int" ? value.integer() != nullptr : value.number(&number);
  if (!typed) return *wrong = type_of(value), Value();
  value.number(&number);
  if ((param.minimum && number < *param.minimum) || (param.maximum && number > *param.maximum)) {
    *wrong = number_text(number);
    return Value();
  }
  return param.type == "int" ? value : Value(number);
}

// One item stands for a list of one.
Value checked_list(const ParamManifest& param, const Value& value, std::string* wrong) {
  const bool texts = param.type == "strings";
  double number = 0;
  const bool item = texts ? value.text() != nullptr : value.number(&number);
  if (!item && value.list() == nullptr) return *wrong = type_of(value), Value();
  Value::List list;
  for (const Value& one : item ? Value::List{value} : *value.list()) {
    std::string fault;
    Value checked = texts && one.text() != nullptr ? one
                    : texts                        ? (fault = type_of(one), Value())
                                                   : checked_number(param, one, &fault);
    if (!fault.empty()) return *wrong = absl::StrCat("a list with ", fault), Value();
    list.push_back(std::move(checked));
  }
  return Value(std::move(list));
}

std::string absent(const std::string& path, const std::error_code& error) {
  return error && error != std::errc::no_such_file_or_directory
             ? absl::StrCat("\"", path, "\" cannot be reached (", error.message(), ")")
             : absl::StrCat("there is no \"", path, "\"");
}

}  // namespace

void Problems::add(const SourceLocation& where, const std::string& text) {
  add(where, text, ExitCode::kPipeline);
}

void Problems::add(const SourceLocation& where, const std::string& text, ExitCode code) {
  code_ = lines_.empty() || code_ == code ? code : ExitCode::kPipeline;
  lines_.push_back(where.file.empty() ? text : absl::StrCat(where.text(), ": ", text));
}

absl::Status Problems::status() const {
  if (lines_.empty()) return absl::OkStatus();
  constexpr size_t kShown = 50;
  const size_t shown = std::min(lines_.size(), kShown);
  const std::string more = lines_.size() > kShown
                               ? absl::StrCat("\nand ", lines_.size() - kShown, " more problems")
                               : "";
  const std::string text =
      absl::StrJoin(lines_.begin(), lines_.begin() + static_cast<int64_t>(shown), "\n") + more;
  return with_exit_code(absl::InvalidArgumentError(text), code_);
}

Value checked_value(const ParamManifest& param, const Value& value, std::string* wrong) {
  if (param.type == "int" || param.type == "float") return checked_number(param, value, wrong);
  if (param.type == "strings" || param.type == "numbers") return checked_list(param, value, wrong);
  const bool typed = param.type == "bool"    ? value.boolean() != nullptr
                     : param.type == "table" ? value.table() != nullptr
                                             : value.text() != nullptr;
  if (!typed) return *wrong = type_of(value), Value();
  if (param.type == "choice" &&
      std::find(param.choices.begin(), param.choices.end(), *value.text()) == param.choices.end()) {
    return *wrong = absl::StrCat("\"", *value.text(), "\""), Value();
  }
  return value;
}

std::string type_of(const Value& value) {
  return absl::StrCat(value.integer() != nullptr ? "an " : "a ", value.type_name());
}

std::string describe_type(const ParamManifest& param) {
  if (param.type == "bool") return "true or false";
  if (param.type == "choice") return absl::StrCat("one of ", quoted(param.choices));
  if (param.type == "strings") return "a list of strings";
  if (param.type == "path") return "the path of a file or folder";
  if (param.type == "string") return "a string";
  if (param.type == "table") return "a table";
  const std::string limits = bounds(param);
  return absl::StrCat(param.type == "int"       ? "an integer"
                      : param.type == "numbers" ? "a list of numbers"
                                                : "a number",
                      limits.empty() ? "" : ", ", limits);
}

std::string resolve_path(const std::string& path, const SourceLocation& where) {
  namespace fs = std::filesystem;
  const fs::path folder = where.line == 0 ? fs::path() : fs::path(where.file).parent_path();
  std::error_code error;  // a current folder that was removed: the path stays relative
  const fs::path joined = folder / path;
  const fs::path whole = fs::absolute(joined, error);
  std::string absolute = (error ? joined : whole).lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

Value::Table check_params(const std::vector<ParamManifest>& params, const Value& table,
                          const std::string& path, const Document& document,
                          const std::string& owner, const std::vector<std::string>& others,
                          Problems* problems) {
  std::vector<std::string> known = others;
  Value::Table values;
  for (const ParamManifest& param : params) {
    known.push_back(param.name);
    const Value& given = table[param.name];
    if (given.is_null()) {
      if (param.default_value.is_null() && !param.optional) {
        problems->add(document.place(path).value,
                      absl::StrCat(owner, " lacks \"", param.name, "\", ", describe_type(param),
                                   ": ", param.help));
      }
      values[param.name] = param.default_value;
      continue;
    }
    const SourceLocation& where = document.place(join_path(path, param.name)).value;
    std::string wrong;
    Value value = checked_value(param, given, &wrong);
    if (!wrong.empty()) {
      problems->add(where, absl::StrCat("\"", param.name, "\" is ", wrong, "; expected ",
                                        describe_type(param)));
    } else if (param.type == "path") {
      value = Value(resolve_path(*value.text(), where));
      std::error_code error;
      const auto status = std::filesystem::status(*value.text(), error);
      if (given.text()->empty()) {
        problems->add(
            where, absl::StrCat("\"", param.name, "\" is empty; expected ", describe_type(param)));
      } else if (!std::filesystem::exists(status)) {
        problems->add(where,
                      absl::StrCat("\"", param.name, "\" is \"", *given.text(), "\", but ",
                                   absent(*value.text(), error), foreign_path(*given.text())));
      } else if (!std::filesystem::is_regular_file(status) &&
                 !std::filesystem::is_directory(status)) {
        problems->add(where, absl::StrCat("\"", param.name, "\" is \"", *given.text(),
                                          "\", which is a pipe, device or socket; expected a file "
                                          "or a folder"));
      }
    }
    values[param.name] = std::move(value);
  }
  if (table.table() == nullptr) return values;
  for (const auto& [key, value] : *table.table()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    problems->add(document.place(join_path(path, key)).key,
                  absl::StrCat("\"", key, "\" is no key of ", owner,
                               foreign_key(key, known, suggestion(key, known))));
  }
  return values;
}

}  // namespace swage
