#include "core/engine/ledger.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/exit_codes.h"
#include "core/base/glob.h"
#include "core/config/model_check.h"
#include "core/engine/loaded_check.h"
#include "core/engine/opened_model.h"
#include "core/engine/shape_source.h"
#include "core/load/origins.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/nn/load.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr size_t kShownGroups = 5, kShownFaults = 20;
constexpr size_t kFaultsOfPart = 20, kFaultsOfModel = 100;  // looked for
constexpr const char* kNoRule =
    "named by no rule (linears, kept, ignored) of the adapter; this checkpoint needs an adapter "
    "that knows them";

bool is_number(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// Every part of a model, loaded without data.
class DryLoad {
 public:
  DryLoad(ModelAdapter& adapter, const std::string& name, ShapeSource& source,
          const std::set<std::string>& reported)
      : adapter_(adapter), name_(name), source_(source), reported_(reported) {
    options_.compute = source.common_dtype();
  }

  void all(Ledger* ledger) {
    for (const Tower& tower : adapter_.shape().towers) {
      const bool language = tower.name == kLanguage;
      part(language ? "embedding" : tower.name + " embedding", ledger, [&] {
        const auto loaded = adapter_.load_embedding(tower.name, source_, options_);
        const std::string& table = adapter_.shape().embedding;
        return language ? end(LinearPlace::kEmbedding, table, loaded, ledger) : held(loaded);
      });
      for (int64_t index = 0; index < tower.block_count; ++index) {
        const BlockId id = {tower.name, index};
        part(text_of(id), ledger, [&] { return block(id, ledger); });
      }
    }
    part("head", ledger, [&] {
      const auto loaded = adapter_.load_head(source_, options_);
      return end(LinearPlace::kHead, adapter_.shape().head, loaded, ledger);
    });
  }

  using Names = absl::StatusOr<std::vector<std::string>>;
  Names embedding() {
    return guarded_call(
        "embedding", [&] { return held(adapter_.load_embedding(kLanguage, source_, options_)); });
  }
  Names head() {
    return guarded_call("head", [&] { return held(adapter_.load_head(source_, options_)); });
  }
  const std::vector<std::string>& read() const { return read_; }

 private:
  template <class Part>
  static Names held(const absl::StatusOr<std::unique_ptr<Part>>& loaded) {
    if (!loaded.ok()) return loaded.status();
    if (*loaded == nullptr) return plugin_fault("null instead of what was asked for");
    std::vector<std::string> names;
    for (const Parameter& parameter : (*loaded)->parameters()) names.push_back(parameter.name);
    return names;
  }

  // What it holds, and what it is as a linear.
  template <class Part>
  Names end(LinearPlace place, const std::string& tensor,
            const absl::StatusOr<std::unique_ptr<Part>>& loaded, Ledger* ledger) {
    SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> names, held(loaded));
    ModelEnd end;
    end.place = place;
    end.name = owner_of(tensor);
    if (const Linear* const linear = (*loaded)->linear(); linear == nullptr) {
      end.why_not = absl::StrCat("the adapter \"", name_, "\" makes no linear of it");
    } else {
      SWAGE_RETURN_IF_ERROR(check_end(*linear));
      end.name = linear->name;
      end.out = linear->out();
      end.in = linear->in();
      end.storage = linear->storage;
    }
    end.tied = std::count(names.begin(), names.end(), end.name + ".weight") == 0;
    const auto same = [&](const ModelEnd& known) { return known.place == place; };
    ledger->ends.erase(std::remove_if(ledger->ends.begin(), ledger->ends.end(), same),
                       ledger->ends.end());
    if (!end.name.empty()) ledger->ends.push_back(std::move(end));
    return names;
  }

  Names block(const BlockId& id, Ledger* ledger) {
    const auto loaded = adapter_.load_block(id, source_, options_);
    SWAGE_ASSIGN_OR_RETURN(std::vector<std::string> names, held(loaded));
    SWAGE_RETURN_IF_ERROR(check_block(loaded->get(), id, options_));
    for (const Linear& linear : (*loaded)->linears()) {
      names.push_back(linear.name + ".weight");
      if (linear.bias.defined()) names.push_back(linear.name + ".bias");
    }
    for (const Subset& subset : (*loaded)->subsets()) {
      note_routed(subset, ledger);
      for (const Subset& part : subset.parts) note_routed(part, ledger);
    }
    return names;
  }

  static void note_routed(const Subset& subset, Ledger* ledger) {
    if (subset.route.empty()) return;
    for (const Linear* linear : subset.linears) ledger->routed.push_back(linear->name);
  }

  template <class Call>
  Names guarded_call(const std::string& what, const Call& call) {
    Names names = absl::InternalError("nothing was made");
    const CallSite site = adapter_site(name_, "load the shapes of " + what);
    const absl::Status status = call_plugin(site, [&] {
      names = call();
      return names.status();
    });
    if (!status.ok()) return status;
    return names;
  }

  template <class Call>
  void part(const std::string& what, Ledger* ledger, const Call& call) {
    Names names = guarded_call(what, call);
    if (names.status().GetPayload(kThrownByPlugin)) {
      // It may write into what it reads, or want tensors that lie in one piece.
      source_.set_form(ShapeSource::Form::kWhole);
      names = guarded_call(what, call);
      source_.forget_writes();
      source_.set_form(ShapeSource::Form::kRepeated);
    }
    // As if the tensor that is missing were there: the next fault shows.
    for (size_t faults = 0; !names.ok();) {
      if (reported_.count(source_.asked()) == 0) {
        ledger->unloadable.push_back(std::string(names.status().message()));
        ++faults;
      }
      if (faults == kFaultsOfPart || ledger->unloadable.size() >= kFaultsOfModel ||
          !pretend(names.status()))
        break;
      names = guarded_call(what, call);
    }
    for (std::string& tensor : source_.take_read()) read_.push_back(std::move(tensor));
    if (names.ok()) return place(what, *names, ledger);
    ledger->is_whole = false;
    ledger->plugin_failed |= names.status().GetPayload(kThrownByPlugin).has_value() ||
                             exit_code(names.status()) == static_cast<int>(ExitCode::kPlugin);
  }

  // That the tensor which was asked for last has the shape that the error asks for.
  bool pretend(const absl::Status& error) const {
    const auto wanted = error.GetPayload(nn::kWantedShape);
    if (!wanted) return false;
    std::vector<int64_t> shape;
    const std::string text(*wanted);
    for (const absl::string_view side : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      int64_t size = 0;
      if (!absl::SimpleAtoi(side, &size) || size < 1) return false;
      shape.push_back(size);
    }
    return source_.pretend(shape);
  }

  void place(const std::string& what, const std::vector<std::string>& names, Ledger* ledger) {
    std::vector<std::string> again;
    for (const std::string& name : names) {
      if (!ledger->placed.insert(name).second) again.push_back(name);
    }
    if (again.empty()) return;
    ledger->plugin_failed = true;
    ledger->unloadable.push_back(absl::StrCat(
        name_, ": its ", what, " holds ", again.front(),
        again.size() > 1 ? absl::StrCat(" and ", again.size() - 1, " more tensors") : "",
        " that an earlier part of the model holds already"));
  }

  ModelAdapter& adapter_;
  const std::string& name_;
  ShapeSource& source_;
  const std::set<std::string>& reported_;
  LoadOptions options_;
  std::vector<std::string> read_;
};

// Judges tensors that no part holds.
class Judge {
 public:
  Judge(const Ledger& ledger, const std::vector<std::string>& read, const LedgerRules& rules,
        int64_t block_count)
      : ledger_(ledger), read_(read), rules_(rules), block_count_(block_count) {}

  // The rule by which exports carry it; "" where it is refused.
  std::string carried_by(const std::string& tensor) const {
    if (glob_match_any(rules_.manifest.ignored, tensor) ||
        glob_match_any(rules_.manifest.ignored, owner_of(tensor)))
      return "the model computes without it";
    const int64_t layer = layer_of(tensor);
    const bool draft = layer >= block_count_ && layer < block_count_ + rules_.draft_layers;
    return draft ? "draft layer" : "";
  }

  std::string why_lost(const std::string& tensor) const {
    if (std::count(read_.begin(), read_.end(), tensor) > 0)
      return "the adapter reads it, but no linear and no parameter of the model holds it";
    const std::string beyond = number_beyond(tensor);
    if (!beyond.empty()) return beyond;
    const std::string owner = owner_of(tensor);
    if (absl::EndsWith(tensor, ".bias") && ledger_.placed.count(owner + ".weight") > 0)
      return "config.json makes this part one without a bias";
    if (rule_of(rules_.manifest, tensor) == TensorRule::kNone) return kNoRule;
    return "no part of the model that config.json describes reads it";
  }

 private:
  // The number behind the manifest's `blocks`; -1 for tensors elsewhere.
  int64_t layer_of(const std::string& tensor) const {
    absl::string_view rest = tensor;
    int64_t layer = -1;
    if (rules_.manifest.blocks.empty() ||
        !absl::ConsumePrefix(&rest, rules_.manifest.blocks + ".") ||
        !absl::SimpleAtoi(rest.substr(0, rest.find('.')), &layer))
      return -1;
    return layer;
  }

  // A block or an expert whose like with another number is placed.
  std::string number_beyond(const std::string& tensor) const {
    std::vector<std::string> parts = absl::StrSplit(tensor, '.');
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!is_number(parts[i])) continue;
      const std::string number = parts[i];
      const std::string before = absl::StrJoin(parts.begin(), parts.begin() + i, ".") + ".";
      if (placed_below(before + number + ".")) continue;  // others of this number are there
      if (placed_below(before))
        return absl::StrCat("it lies behind ", last_below(before),
                            ", the last one that config.json counts");
    }
    return "";
  }

  bool placed_below(const std::string& prefix) const {
    const auto found = ledger_.placed.lower_bound(prefix);
    return found != ledger_.placed.end() && absl::StartsWith(*found, prefix);
  }

  std::string last_below(const std::string& prefix) const {
    int64_t last = -1;
    for (auto tensor = ledger_.placed.lower_bound(prefix);
         tensor != ledger_.placed.end() && absl::StartsWith(*tensor, prefix); ++tensor) {
      int64_t number = -1;
      const std::string rest = tensor->substr(prefix.size());
      if (absl::SimpleAtoi(rest.substr(0, rest.find('.')), &number)) last = std::max(last, number);
    }
    return absl::StrCat(prefix, last);
  }

  const Ledger& ledger_;
  const std::vector<std::string>& read_;
  const LedgerRules& rules_;
  const int64_t block_count_;
};

void judge_the_rest(const io::Header& header, const Judge& judge, const LedgerRules& rules,
                    Ledger* ledger) {
  std::map<std::string, std::string> why;  // of a family of names
  for (const auto& [tensor, info] : header) {
    if (tensor == rules.also_placed) ledger->placed.insert(tensor);
    if (ledger->placed.count(tensor) > 0) continue;
    const std::string rule = judge.carried_by(tensor);
    if (!rule.empty()) {
      ledger->carried[tensor] = rule;
      continue;
    }
    std::string& reason = why[family_of(tensor)];
    if (reason.empty()) reason = judge.why_lost(tensor);
    // A part that cannot be loaded holds nothing: only what surely is none of it counts.
    if (ledger->is_whole || reason == kNoRule) ledger->refused[tensor] = reason;
  }
}

std::string faults_text(const std::vector<std::string>& parts) {
  const size_t shown = std::min(parts.size(), kShownFaults);
  return absl::StrCat(
      absl::StrJoin(parts.begin(), parts.begin() + static_cast<int64_t>(shown), "\n"),
      parts.size() > shown ? absl::StrCat("\nand ", parts.size() - shown, " more") : "");
}

// One line for all tensors of a kind.
std::string lost_text(const std::map<std::string, std::string>& refused) {
  std::map<std::string, std::pair<std::string, int64_t>> groups;  // family -> first, count
  for (const auto& [tensor, why] : refused) {
    auto& [first, count] = groups[family_of(tensor)];
    if (count++ == 0) first = tensor;
  }
  std::vector<std::string> lines;
  for (const auto& [family, group] : groups) {
    const auto& [first, count] = group;
    if (lines.size() == kShownGroups) break;
    lines.push_back(absl::StrCat(
        first, count > 1 ? absl::StrCat(" and ", count - 1, " like it (", family, ")") : "", ": ",
        refused.at(first)));
  }
  if (groups.size() > kShownGroups)
    lines.push_back(absl::StrCat("and ", groups.size() - kShownGroups, " more kinds"));
  return absl::StrJoin(lines, "\n");
}

}  // namespace

std::string family_of(const std::string& tensor) {
  return absl::StrJoin(absl::StrSplit(tensor, '.'), ".",
                       [](std::string* out, absl::string_view part) {
                         absl::StrAppend(out, is_number(part) ? "*" : part);
                       });
}

absl::Status Ledger::status(const std::string& path, const std::string& adapter) const {
  std::string text = faults_text(unloadable);
  if (!refused.empty()) {
    const bool one = refused.size() == 1;
    absl::StrAppend(&text, text.empty() ? "" : "\n", refused.size(), one ? " tensor" : " tensors",
                    " would be lost, since no part of the model that the adapter \"", adapter,
                    "\" makes of config.json holds ", one ? "it" : "them", ":\n",
                    lost_text(refused),
                    "\ncorrect config.json, or take out of the checkpoint what does not belong to "
                    "the model");
  }
  if (text.empty()) return absl::OkStatus();
  return with_exit_code(absl::InvalidArgumentError(absl::StrCat(path, ": ", text)),
                        plugin_failed ? ExitCode::kPlugin : ExitCode::kInput);
}

std::string carried_text(const Ledger& ledger) {
  std::map<std::string, int64_t> count_of;
  for (const auto& [tensor, rule] : ledger.carried) ++count_of[rule];
  return absl::StrJoin(count_of, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.second, entry.second == 1 ? " tensor" : " tensors", " (",
                    entry.first, ")");
  });
}

absl::StatusOr<Ledger> account(ModelAdapter& adapter, const std::string& name,
                               const io::Header& header, const LedgerRules& rules) {
  SWAGE_ASSIGN_OR_RETURN(const auto shapes, ShapeSource::create(header));
  Ledger ledger;
  DryLoad load(adapter, name, *shapes, rules.reported);
  load.all(&ledger);
  const Judge judge(ledger, load.read(), rules, adapter.shape().towers.back().block_count);
  judge_the_rest(header, judge, rules, &ledger);
  return ledger;
}

absl::StatusOr<std::string> embedding_of_head(ModelAdapter& adapter, const std::string& name,
                                              const io::Header& header) {
  SWAGE_ASSIGN_OR_RETURN(const auto shapes, ShapeSource::create(header));
  const std::set<std::string> none;
  DryLoad load(adapter, name, *shapes, none);
  const auto embedding = load.embedding();
  const std::vector<std::string> tables = shapes->take_read();
  const auto head = load.head();
  const std::vector<std::string> read = shapes->take_read();
  if (!embedding.ok() || !head.ok()) return "";  // account() says what is wrong
  for (const std::string& tensor : tables) {
    const bool own = std::count(head->begin(), head->end(), tensor) > 0;
    if (std::count(read.begin(), read.end(), tensor) > 0 && !own) return tensor;
  }
  return "";
}

}  // namespace swage
