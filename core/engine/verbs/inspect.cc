#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/bytes.h"
#include "core/base/plain_output.h"
#include "core/catalog/catalog.h"
#include "core/config/model_summary.h"
#include "core/engine/model_report.h"
#include "core/engine/source_header.h"
#include "core/engine/verbs/verbs.h"
#include "swage/io/checkpoint.h"
#include "swage/status.h"

namespace swage {
namespace {

const Value::List& list_of(const Value& value) {
  static const auto* const none = new Value::List();
  return value.list() != nullptr ? *value.list() : *none;
}

void print_line(const char* what, const std::string& text) {
  if (!text.empty()) absl::PrintF("  %-14s %s\n", what, text);
}

std::string adapter_line(const Value& adapter) {
  if (adapter.is_null()) return "";
  return absl::StrCat(adapter.str("name", ""), " of plugin ", adapter.str("plugin", ""), " ",
                      adapter.str("version", ""));
}

std::string sizes_line(const Value& report) {
  std::vector<std::string> types;
  for (const Value& type : list_of(report["types"])) {
    const int64_t tensors = type.i64("tensors", 0);
    types.push_back(absl::StrCat(type.str("type", ""), " ", bytes_to_text(type.i64("bytes", 0)),
                                 " in ", tensors, tensors == 1 ? " tensor" : " tensors"));
  }
  return absl::StrCat(bytes_to_text(report.i64("bytes", 0)), ": ", absl::StrJoin(types, ", "));
}

std::string texts_line(const Value& list) {
  return absl::StrJoin(list_of(list), ", ", [](std::string* out, const Value& item) {
    absl::StrAppend(out, item.text() != nullptr ? *item.text() : "");
  });
}

std::string towers_line(const Value& report) {
  return absl::StrJoin(list_of(report["towers"]), ", ", [](std::string* out, const Value& tower) {
    absl::StrAppend(out, tower.str("name", ""), " (", tower.i64("blocks", 0), " blocks)");
  });
}

std::string number_line(const Value& value) {
  return value.integer() != nullptr ? absl::StrCat(*value.integer()) : "";
}

void print_head(const Value& report) {
  const bool readable = report.flag("readable", false);
  absl::PrintF("%s\n", report.str("path", ""));
  print_line("adapter", adapter_line(report["adapter"]));
  print_line("language", adapter_line(report["language_adapter"]));
  if (report["compressed"].text() != nullptr)
    print_line("compressed", *report["compressed"].text());
  print_line("architecture", texts_line(report["architectures"]));
  print_line("parameters", number_line(report["parameters"]));
  print_line("size", sizes_line(report));
  print_line("vocabulary", number_line(report["vocabulary"]));
  print_line("context", number_line(report["context"]));
  print_line("hidden size", number_line(report["hidden_size"]));
  if (!readable) return;
  print_line("embeddings", report.flag("tied_embeddings", false)
                               ? "tied: the head's weight is theirs"
                               : "apart from the head's weight");
  print_line("towers", towers_line(report));
}

std::string shape_text(const Value& item) {
  return absl::StrCat("[",
                      absl::StrJoin(list_of(item["shape"]), ", ",
                                    [](std::string* out, const Value& size) {
                                      absl::StrAppend(out, *size.integer());
                                    }),
                      "]");
}

std::string linear_text(const std::string& name, const Value& linear) {
  const std::string* const scheme = linear["scheme"].text();
  const std::string* const kept = linear["kept"].text();
  return absl::StrCat(name, " ", shape_text(linear), scheme != nullptr ? ", " + *scheme : "",
                      linear.flag("bias", false) ? " with bias" : "",
                      kept != nullptr ? absl::StrCat(", kept: ", *kept) : "");
}

void print_ends(const Value& ends) {
  if (!list_of(ends).empty()) absl::PrintF("\nends\n");
  for (const Value& linear : list_of(ends))
    absl::PrintF("    %s\n", linear_text(linear.str("name", ""), linear));
}

// Blocks that are alike; names without what all tensors of a block begin with.
class BlockPrinter {
 public:
  explicit BlockPrinter(const Value& blocks) : blocks_(blocks) {
    for (const Value& index : list_of(blocks["indices"])) indices_.push_back(*index.integer());
    const std::string own = blocks.str("prefix", "");
    if (!own.empty()) prefix_ = absl::StrCat(own, indices_.front(), ".");
  }

  void print(const std::string& tower) const {
    const std::string own = blocks_.str("prefix", "");
    absl::PrintF("\n%s, %s %s%s\n", tower, indices_.size() == 1 ? "block" : "blocks",
                 ranges_text(indices_), own.empty() ? "" : absl::StrCat(": ", own, "N"));
    for (const Value& subset : list_of(blocks_["subsets"])) print_subset(subset);
    std::vector<std::string> others;
    for (const Value& linear : list_of(blocks_["other_linears"])) others.push_back(text(linear));
    for (const Value& parameter : list_of(blocks_["parameters"]))
      others.push_back(absl::StrCat(name_of(parameter), " ", shape_text(parameter)));
    if (!others.empty()) absl::PrintF("  others         %s\n", absl::StrJoin(others, ", "));
  }

 private:
  std::string name_of(const Value& item) const {
    const std::string name = item.str("name", "");
    return absl::StartsWith(name, prefix_) ? name.substr(prefix_.size()) : name;
  }

  std::string text(const Value& linear) const { return linear_text(name_of(linear), linear); }

  std::string fold(const Value& target) const {
    const std::string kind = target.str("kind", "");
    if (kind == "norm")
      return absl::StrCat("norm ", name_of(target),
                          target.flag("multiplies_by_one_plus_weight", false)
                              ? ", which multiplies by 1 + weight"
                              : "");
    if (kind == "rows") {
      const int64_t rows = target.i64("rows", 0), channels = target.i64("channels", 0);
      return absl::StrCat(
          "rows of ", name_of(target),
          rows == channels ? "" : absl::StrCat(", ", rows, " for ", channels, " channels"));
    }
    const std::string* const why = target["why"].text();
    return absl::StrCat("nowhere", why != nullptr ? absl::StrCat(": ", *why) : "");
  }

  void print_subset(const Value& subset) const {
    absl::PrintF("  %s\n", subset.str("name", ""));
    for (const Value& linear : list_of(subset["linears"])) absl::PrintF("    %s\n", text(linear));
    for (const Value& reader : list_of(subset["readers"]))
      absl::PrintF("    %s, which only follows a fold\n", text(reader));
    if (subset.i64("experts", 0) > 0)
      absl::PrintF("    experts        %d, each by the tokens that reach it\n",
                   subset.i64("experts", 0));
    if (const Value& route = subset["route"]; !route.is_null())
      absl::PrintF("    tokens         those with %d in %s\n", route.i64("expert", 0),
                   route.str("slot", ""));
    absl::PrintF("    folds into     %s\n", fold(subset["folds_into"]));
    absl::PrintF("    a search sees  %s\n", subset.str("search_sees", "") == "module"
                                                ? "the output of the module"
                                                : "the outputs of the linears");
  }

  const Value& blocks_;
  std::vector<int64_t> indices_;
  std::string prefix_;
};

void print_schemes(const Value& report) {
  if (list_of(report["schemes"]).empty()) return;
  const std::string title = absl::StrCat("all ", report.i64("linears", 0), " linears as");
  absl::PrintF("\n%-28sbits per weight  model\n", title);
  for (const Value& scheme : list_of(report["schemes"])) {
    absl::PrintF("  %-26s", scheme.str("scheme", ""));
    if (scheme.has("bytes")) {
      absl::PrintF("%15.3f  %s\n", scheme.f64("bits_per_weight", 0),
                   bytes_to_text(scheme.i64("bytes", 0)));
    } else {
      absl::PrintF("groups do not divide the input width %d\n", scheme.i64("does_not_divide", 0));
    }
  }
}

void print(const Value& report, const std::string& carried) {
  print_head(report);
  if (!report.flag("readable", false)) {
    absl::PrintF("\nswage does not read this form: start from the original\n");
    return;
  }
  for (const Value& tower : list_of(report["towers"])) {
    for (const Value& blocks : list_of(tower["alike"]))
      BlockPrinter(blocks).print(tower.str("name", ""));
  }
  print_ends(report["ends"]);
  print_schemes(report);
  if (!carried.empty()) absl::PrintF("\ncarried into exports unchanged: %s\n", carried);
  const char* const who = report["compressed"].is_null() ? "a run" : "eval and forward";
  const Value::List& problems = list_of(report["problems"]);
  for (size_t i = 0; i < problems.size(); ++i)
    absl::PrintF("%s%s\n", i == 0 ? absl::StrCat("\n", who, " would refuse this checkpoint: ") : "",
                 *problems[i].text());
}

void answer(const Arguments& arguments, const Value& report, const std::string& carried) {
  if (arguments.json)
    print_json(to_json(report));
  else
    print(report, carried);
}

}  // namespace

absl::Status inspect(const Arguments& arguments) {
  Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  SWAGE_RETURN_IF_ERROR(choose_adapter(arguments, &catalog));
  Loader loader(catalog);
  {
    SWAGE_ASSIGN_OR_RETURN(const auto checkpoint, io::open_checkpoint(arguments.target));
    SWAGE_ASSIGN_OR_RETURN(const io::Header header, header_of(checkpoint->weights()));
    const StoredForm form = stored_form(checkpoint->config(), header, catalog.form_signs());
    if (form.compressed && !catalog.find_reader(form.method).ok()) {
      SWAGE_ASSIGN_OR_RETURN(const Value report, unread_report(*checkpoint, header, form));
      answer(arguments, report, "");
      return absl::OkStatus();
    }
  }
  SWAGE_ASSIGN_OR_RETURN(
      const OpenedModel model,
      OpenedModel::open(arguments.target, catalog, loader, {}, OpenedModel::Compare::kSampled));
  SWAGE_ASSIGN_OR_RETURN(const Value report, model_report(model));
  answer(arguments, report, model.ledger().carried.empty() ? "" : carried_text(model.ledger()));
  return absl::OkStatus();
}

}  // namespace swage
