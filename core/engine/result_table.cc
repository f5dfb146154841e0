#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/engine/result.h"
#include "swage/printable.h"

namespace swage {
namespace {

std::string figure_text(const Value& value) {
  double figure = 0;
  return value.number(&figure) ? absl::StrFormat("%.6g", figure) : "";
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
}

class Table {
 public:
  void row(const std::string& label, const std::string& before, const std::string& after) {
    absl::StrAppendFormat(&text_, "  %-26s %12s %12s\n", printable(label), before, after);
  }
  void line(const std::string& label, const std::string& value) {
    absl::StrAppendFormat(&text_, "  %-26s %s\n", printable(label), printable(value));
  }
  std::string text() { return std::move(text_); }

 private:
  std::string text_;
};

void add_sizes(const Value& result, Table* table) {
  const Value::List* exports = result["exports"].list();
  for (const Value& item : exports == nullptr ? Value::List() : *exports) {
    table->row(absl::StrCat("size: ", item.str("name", "")),
               bytes_to_text(result.i64("model_bytes", 0)), bytes_to_text(item.i64("bytes", 0)));
  }
  if (result.has("bits_per_weight"))
    table->row("bits per weight", "", figure_text(result["bits_per_weight"]));
  if (result.has("bits_per_weight_model"))
    table->row("bits per weight, model", "", figure_text(result["bits_per_weight_model"]));
}

void add_metrics(const Value& metrics, Table* table) {
  if (metrics.table() == nullptr) return;
  for (const auto& [name, sides] : *metrics.table()) {
    std::map<std::string, std::pair<std::string, std::string>> rows;
    for (const char* side : {"original", "compressed"}) {
      const Value::Table* figures = sides[side].table();
      if (figures == nullptr) continue;
      for (const auto& [figure, value] : *figures) {
        auto& [before, after] = rows[figure];
        (std::string_view(side) == "compressed" ? after : before) = figure_text(value);
      }
    }
    for (const auto& [figure, row] : rows) {
      table->row(figure == name ? name : absl::StrCat(name, ": ", figure), row.first, row.second);
    }
  }
}

std::string drawn_text(const Value& drawn) {
  const int64_t asked = drawn["asked"].i64("windows", 0), windows = drawn.i64("windows", 0);
  return absl::StrCat(windows, asked > windows ? absl::StrCat(" of ", asked) : "",
                      windows == 1 && asked <= 1 ? " window, " : " windows, ",
                      drawn.i64("tokens", 0), " tokens");
}

void add_data(const Value& data, Table* table) {
  if (data.has("calibration")) table->line("calibration", drawn_text(data["calibration"]));
  const Value::Table* evaluated = data["evaluate"].table();
  if (evaluated == nullptr) return;
  for (const auto& [name, drawn] : *evaluated)
    table->line(absl::StrCat("measured: ", name), drawn_text(drawn));
}

// "ok", and whether hidden states were compared beside the values.
std::string verdict_text(const Value& item) {
  const std::string why = item.str("why_no_windows", "");
  return absl::StrCat(item.str("verdict", "not verified"),
                      why.empty() ? "" : absl::StrCat("; windows: none, because ", why));
}

// Linears of which nothing is left, in a table since whoever reads figures must not miss it.
void add_zeros(const Value& result, Table* table) {
  std::vector<std::string> names;
  for (const Value& linear : *result["linears"].list()) {
    if (linear.flag("is_zero", false) && linear.i64("zeroed_outputs", 0) > 0)
      names.push_back(linear.str("name", ""));
  }
  if (names.empty()) return;
  const std::string more = names.size() > 1 ? absl::StrCat(" and ", names.size() - 1, " more") : "";
  table->line("became 0", absl::StrCat(names.front(), more, ", see \"notes\" in the figures"));
}

}  // namespace

std::string result_table(const Value& result, const std::string& work) {
  Table table;
  const bool one = result["command"].str("verb", "") == "eval";
  table.row("", one ? "checkpoint" : "original", one ? "" : "compressed");
  add_sizes(result, &table);
  add_metrics(result["metrics"], &table);
  add_data(result["data"], &table);
  add_zeros(result, &table);
  double seconds = 0;
  if (const Value::Table* parts = result["seconds"].table()) {
    for (const auto& [what, value] : *parts) {
      double part = 0;
      value.number(&part);
      seconds += part;
    }
  }
  table.line("time", absl::StrCat(seconds_text(seconds), ", ",
                                  seconds_text(result.f64("cpu_seconds", 0)), " of the processor"));
  table.line("peak memory", bytes_to_text(result["peak_bytes"].i64("host", 0)));
  const Value::List* exports = result["exports"].list();
  for (const Value& item : exports == nullptr ? Value::List() : *exports) {
    table.line("checkpoint",
               absl::StrCat(item.str("path", ""), " (read back: ", verdict_text(item), ")"));
  }
  table.line("figures", work + "/result.json");
  return table.text();
}

}  // namespace swage
