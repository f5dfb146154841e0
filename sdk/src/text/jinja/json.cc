#include "json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "../../base/json_text.h"
#include "../unicode.h"
#include "operators.h"
#include "repr.h"

namespace swage::text::jinja {
namespace {

// Makes our values while reading, so that depth and size are refused before they are there.
class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Reader(Budget* budget, std::string_view name) : budget_(budget), name_(name) {}

  Value result() { return std::move(result_); }

  bool null() override { return put(Value()); }
  bool boolean(bool v) override { return put(Value(v)); }
  bool number_integer(int64_t v) override { return put(Value(v)); }
  bool number_unsigned(uint64_t v) override {
    if (v > static_cast<uint64_t>(INT64_MAX)) too_long(absl::StrCat(v));
    return put(Value(static_cast<int64_t>(v)));
  }
  bool number_float(double v, const std::string& digits) override {
    if (digits.find_first_of(".eE") == std::string::npos) too_long(digits);
    return put(Value(v));
  }
  bool string(std::string& v) override { return put(make_text(budget_, std::move(v))); }
  bool binary(binary_t&) override { return false; }  // JSON has none
  bool start_object(size_t) override { return open(true); }
  bool key(std::string& v) override {
    open_.back().key = make_text(budget_, std::move(v));
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(false); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    fail(name_, ": this is not valid JSON at its byte ", position, " (",
         json_problem(error.what(), ""), ")");
  }

 private:
  struct Open {
    bool is_dict;
    std::shared_ptr<Dict> dict;
    Items items;
    Value key;
  };

  [[noreturn]] void too_long(const std::string& digits) const {
    fail(name_, ": the integer ", digits.substr(0, 40), " has more than 64 bits");
  }
  bool open(bool is_dict) {
    if (open_.size() >= kMaxValueDepth) {
      fail(name_, ": nested deeper than ", kMaxValueDepth, " levels");
    }
    open_.push_back({is_dict, is_dict ? std::make_shared<Dict>() : nullptr, {}, Value()});
    return true;
  }
  bool close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    return put(done.is_dict ? Value(std::move(done.dict))
                            : make_list(budget_, std::move(done.items)));
  }
  bool put(Value value) {
    budget_->step();
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (open_.back().is_dict) {
      open_.back().dict->set(budget_, std::move(open_.back().key), std::move(value));
    } else {
      budget_->take(sizeof(Value));
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  Budget* budget_;
  std::string name_;
  std::vector<Open> open_;
  Value result_;
};

void append_escaped(std::string_view text, bool ascii_only, Builder* out) {
  std::string quoted = "\"";
  const auto escape = [&quoted](unsigned unit) {
    char code[8];
    std::snprintf(code, sizeof(code), "\\u%04x", unit & 0xFFFF);
    quoted += code;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const auto c = static_cast<unsigned>(next_char(text, &at));
    static constexpr std::string_view kShort = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
    if (c < 0x80 && kShort.find(static_cast<char>(c)) != std::string_view::npos) {
      quoted += '\\';
      quoted += kNames[kShort.find(static_cast<char>(c))];
    } else if (c < 0x20 || (ascii_only && c > 0x7F && c < 0x10000)) {
      escape(c);
    } else if (ascii_only && c >= 0x10000) {
      escape(0xD800 + ((c - 0x10000) >> 10));
      escape(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      quoted.append(text.substr(begin, at - begin));
    }
  }
  quoted += '"';
  *out << quoted;
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

class Writer {
 public:
  Writer(const JsonStyle& style, Builder* out) : style_(style), out_(out) {}

  void append(const Value& value) {
    out_->budget().step();
    switch (value.kind()) {
      case Kind::kString:
        append_escaped(value.text(), style_.ascii_only, out_);
        return;
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        *out_ << scalar(value);
        return;
      case Kind::kList:
      case Kind::kTuple:
        append_list(value.sequence().items);
        return;
      case Kind::kDict:
        append_dict(value.dict().entries());
        return;
      default:
        fail("Object of type ", value.type_name(), " is not JSON serializable");
    }
  }

 private:
  std::string scalar(const Value& value) const {
    if (value.is(Kind::kNone)) return "null";
    if (value.is(Kind::kBool)) return value.integer() != 0 ? "true" : "false";
    return value.is(Kind::kInt) ? absl::StrCat(value.integer()) : json_float(value.number());
  }

  void begin_line() {
    if (!style_.has_indent) return;
    *out_ << "\n";
    out_->repeat(static_cast<size_t>(depth_), style_.indent);
  }

  void append_list(const Items& items) {
    if (items.empty()) {
      *out_ << "[]";
      return;
    }
    *out_ << "[";
    ++depth_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) *out_ << style_.item_separator;
      begin_line();
      append(items[i]);
    }
    --depth_;
    begin_line();
    *out_ << "]";
  }

  void append_key(const Value& key) {
    if (key.is(Kind::kString)) {
      append_escaped(key.text(), style_.ascii_only, out_);
    } else if (key.is(Kind::kNone) || key.is_number()) {
      *out_ << "\"" << scalar(key) << "\"";
    } else {
      fail("keys must be str, int, float, bool or None, not ", key.type_name());
    }
  }

  void append_dict(std::vector<Dict::Entry> entries) {
    if (entries.empty()) {
      *out_ << "{}";
      return;
    }
    if (style_.sorted) {
      std::stable_sort(entries.begin(), entries.end(), [this](const auto& a, const auto& b) {
        return is_less(&out_->budget(), a.first, b.first);
      });
    }
    *out_ << "{";
    ++depth_;
    bool first = true;
    for (const auto& [key, value] : entries) {
      if (!first) *out_ << style_.item_separator;
      first = false;
      begin_line();
      append_key(key);
      *out_ << style_.key_separator;
      append(value);
    }
    --depth_;
    begin_line();
    *out_ << "}";
  }

  const JsonStyle& style_;
  Builder* out_;
  int depth_ = 0;
};

}  // namespace

Value read_json(Budget* budget, std::string_view text, std::string_view name) {
  Reader reader(budget, name);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) {
    fail(name, ": not read as JSON");
  }
  return reader.result();
}

void append_json(const Value& value, const JsonStyle& style, Builder* out) {
  Writer(style, out).append(value);
}

}  // namespace swage::text::jinja
