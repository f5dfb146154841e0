// Which rows of a checkpoint's tensors become which rows of GGUF's, and back.
#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io {

using gguf::Move;
using gguf::Name;
using gguf::Sizes;

namespace {

int64_t rows_of(const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i + (shape.size() > 1 ? 1 : 0) < shape.size(); ++i) rows *= shape[i];
  return rows;
}

// F32 in every file: llama.cpp multiplies vectors as such and reads routers so.
bool is_plain(const std::string& name, const std::vector<int64_t>& shape) {
  return shape.size() < 2 || absl::EndsWith(name, "_norm.weight") ||
         absl::StrContains(name, ".ffn_gate_inp");
}

void append(size_t source, int64_t begin, int64_t count, std::vector<GgufRows>* rows) {
  if (!rows->empty() && rows->back().source == source &&
      rows->back().begin + rows->back().count == begin) {
    rows->back().count += count;
  } else {
    rows->push_back({source, begin, count});
  }
}

// Rows [begin, begin + heads * width) with the halves of each head interleaved.
absl::Status append_interleaved(int64_t begin, int64_t heads, int64_t width, GgufPlan* plan) {
  if (width % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", plan->name, "\" has ", width,
                                                   " rows for a head, expected pairs"));
  }
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < width / 2; ++i) {
      append(0, begin + head * width + i, 1, &plan->rows);
      append(0, begin + head * width + i + width / 2, 1, &plan->rows);
    }
  }
  return absl::OkStatus();
}

class Planner {
 public:
  Planner(const gguf::Found& found, const Sizes& sizes, const TensorShapes& tensors)
      : found_(found), sizes_(sizes), tensors_(tensors) {}

  absl::StatusOr<GgufPlans> run() {
    const gguf::Names names = found_.architecture->names(found_.config);
    blocks_ = names.blocks;
    for (const Name& name : names.all) {
      if (name.gguf[0] != '.') SWAGE_RETURN_IF_ERROR(add(name, name.gguf, name.hugging_face));
    }
    SWAGE_ASSIGN_OR_RETURN(std::vector<GgufPlan> made,
                           gguf::rotation_tensors(*found_.architecture, found_.config, sizes_));
    for (GgufPlan& plan : made) plans_.tensors.push_back(std::move(plan));
    for (int64_t block = 0; block < sizes_.blocks; ++block) {
      for (const Name& name : names.all) {
        if (name.gguf[0] != '.') continue;
        SWAGE_RETURN_IF_ERROR(add(name, absl::StrCat("blk.", block, name.gguf),
                                  absl::StrCat(blocks_, ".", block, name.hugging_face)));
      }
    }
    SWAGE_RETURN_IF_ERROR(add_tied_head());
    SWAGE_RETURN_IF_ERROR(leave_rest());
    return std::move(plans_);
  }

 private:
  absl::Status add(const Name& name, const std::string& gguf, const std::string& module) {
    if ((name.suffixes & gguf::kWhole) != 0) return place(name, gguf + ".bias", module);
    for (const auto& [flag, suffix] :
         {std::pair(gguf::kWeight, ".weight"), std::pair(gguf::kBias, ".bias")}) {
      if ((name.suffixes & flag) != 0)
        SWAGE_RETURN_IF_ERROR(place(name, gguf + suffix, module + suffix));
    }
    return absl::OkStatus();
  }

  absl::Status place(const Name& name, const std::string& gguf, const std::string& source) {
    GgufPlan plan;
    plan.name = gguf;
    if (name.move == Move::kStack) return place_stack(std::move(plan), source);
    const auto tensor = tensors_.find(source);
    if (tensor == tensors_.end()) return absl::OkStatus();
    const std::vector<int64_t>& shape = tensor->second;
    if (shape.empty())
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", source, "\" is empty"));
    plan.sources.push_back({source});
    plan.shape = shape;
    if (absl::EndsWith(gguf, ".weight")) plan.added = name.added;
    SWAGE_RETURN_IF_ERROR(move_rows(name.move, shape, &plan));
    used_.insert(source);
    finish(std::move(plan));
    return absl::OkStatus();
  }

  void finish(GgufPlan plan) {
    plan.plain = is_plain(plan.name, plan.shape);
    plans_.tensors.push_back(std::move(plan));
  }

  absl::Status place_stack(GgufPlan plan, const std::string& pattern) {
    std::vector<int64_t> shape;
    for (int64_t number = 0;; ++number) {
      const std::string source = absl::StrReplaceAll(pattern, {{"*", absl::StrCat(number)}});
      const auto tensor = tensors_.find(source);
      if (tensor == tensors_.end()) break;
      if (number > 0 && tensor->second != shape) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor \"", source, "\" has another shape than its neighbours"));
      }
      shape = tensor->second;
      append(plan.sources.size(), 0, rows_of(shape), &plan.rows);
      plan.sources.push_back({source});
      used_.insert(source);
    }
    if (plan.sources.empty()) return absl::OkStatus();
    plan.shape = shape;
    plan.shape.insert(plan.shape.begin(), static_cast<int64_t>(plan.sources.size()));
    finish(std::move(plan));
    return absl::OkStatus();
  }

  absl::Status divides(int64_t rows, int64_t parts, const GgufPlan& plan) const {
    if (parts > 0 && rows % parts == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", plan.sources[0].name, "\" has ",
                                                   rows, " rows, expected a multiple of ", parts));
  }

  absl::Status move_rows(Move move, const std::vector<int64_t>& shape, GgufPlan* plan) const {
    const int64_t rows = rows_of(shape);
    switch (move) {
      case Move::kQuery:
      case Move::kKey: {
        const int64_t heads = move == Move::kQuery ? sizes_.heads : sizes_.kv_heads;
        SWAGE_RETURN_IF_ERROR(divides(rows, heads, *plan));
        return append_interleaved(0, heads, rows / heads, plan);
      }
      case Move::kGroups:
      case Move::kGroupsQuery:
      case Move::kGroupsKey:
      case Move::kGroupsValue:
        return move_groups(move, rows, plan);
      case Move::kLatentKey:
      case Move::kLatentValue:
        return move_latent(move, rows, plan);
      default:
        append(0, 0, rows, &plan->rows);
        return absl::OkStatus();
    }
  }

  // Key head by key head: its queries, the key, the value.
  absl::Status move_groups(Move move, int64_t rows, GgufPlan* plan) const {
    const int64_t groups = sizes_.kv_heads, queries = sizes_.heads / groups;
    SWAGE_RETURN_IF_ERROR(divides(rows, groups * (queries + 2), *plan));
    const int64_t width = rows / groups / (queries + 2);
    const auto slot = [&](int64_t group, int64_t index) {
      return (group * (queries + 2) + index) * width;
    };
    if (move != Move::kGroups) {
      plan->shape[0] = (move == Move::kGroupsQuery ? sizes_.heads : groups) * width;
    }
    for (int64_t group = 0; group < groups; ++group) {
      if (move == Move::kGroups) append(0, slot(group, 0), queries * width, &plan->rows);
      if (move == Move::kGroupsValue) append(0, slot(group, queries + 1), width, &plan->rows);
      if (move == Move::kGroupsQuery)
        SWAGE_RETURN_IF_ERROR(append_interleaved(slot(group, 0), queries, width, plan));
      if (move == Move::kGroupsKey)
        SWAGE_RETURN_IF_ERROR(append_interleaved(slot(group, queries), 1, width, plan));
    }
    for (int64_t part = queries; move == Move::kGroups && part < queries + 2; ++part) {
      for (int64_t group = 0; group < groups; ++group)
        append(0, slot(group, part), width, &plan->rows);
    }
    return absl::OkStatus();
  }

  absl::Status move_latent(Move move, int64_t rows, GgufPlan* plan) const {
    const int64_t keys = found_.config.i64("qk_nope_head_dim", 0);
    const int64_t values = found_.config.i64("v_head_dim", 0);
    const int64_t rank = plan->shape.back();
    if (keys < 1 || values < 1 || rows != sizes_.heads * (keys + values)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", plan->sources[0].name, "\" has ",
                                                     rows, " rows, expected ",
                                                     sizes_.heads * (keys + values)));
    }
    const bool key = move == Move::kLatentKey;
    for (int64_t head = 0; head < sizes_.heads; ++head) {
      append(0, head * (keys + values) + (key ? 0 : keys), key ? keys : values, &plan->rows);
    }
    plan->shape = key ? std::vector<int64_t>{sizes_.heads, rank, keys}
                      : std::vector<int64_t>{sizes_.heads, values, rank};
    if (key) plan->transposed = sizes_.heads;
    return absl::OkStatus();
  }

  bool has_plan(const std::string& name) const {
    return std::any_of(plans_.tensors.begin(), plans_.tensors.end(),
                       [&](const GgufPlan& plan) { return plan.name == name; });
  }

  // Some graphs read no head from the embedding.
  absl::Status add_tied_head() {
    if (!found_.architecture->needs_head || has_plan("output.weight")) return absl::OkStatus();
    for (const GgufPlan& plan : plans_.tensors) {
      if (plan.name != "token_embd.weight") continue;
      GgufPlan head = plan;
      head.name = "output.weight";
      plans_.tensors.push_back(std::move(head));
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  bool needless(const std::string& name) const {
    for (const char* ending : {".inv_freq", ".masked_bias", ".attention.bias", ".attn.bias"}) {
      if (absl::EndsWith(name, ending)) return true;
    }
    if (!found_.architecture->head && name == "lm_head.weight")
      return found_.config.flag("tie_word_embeddings", true);
    // Draft layers behind the last block.
    const std::string prefix = blocks_ + ".";
    if (!absl::StartsWith(name, prefix)) return false;
    int64_t block = -1;
    const size_t end = name.find('.', prefix.size());
    return end != std::string::npos &&
           absl::SimpleAtoi(name.substr(prefix.size(), end - prefix.size()), &block) &&
           block >= sizes_.blocks;
  }

  absl::Status leave_rest() {
    for (const auto& [name, shape] : tensors_) {
      if (used_.count(name) > 0) continue;
      if (!needless(name)) {
        return absl::UnimplementedError(absl::StrCat(
            "tensor \"", name, "\" has no place in GGUF's \"", found_.architecture->name, "\""));
      }
      plans_.left_out.push_back(name);
    }
    return absl::OkStatus();
  }

  const gguf::Found& found_;
  const Sizes& sizes_;
  const TensorShapes& tensors_;
  std::string blocks_;
  std::set<std::string, std::less<>> used_;
  GgufPlans plans_;
};

// Names and shapes of the tensors that a file's tensors were made of.
class Reverser {
 public:
  Reverser(const gguf::Names& names, const GgufContents& contents, const Sizes& sizes)
      : names_(names), contents_(contents), sizes_(sizes) {}

  absl::StatusOr<TensorShapes> run() {
    for (const auto& [name, shape] : contents_.tensors) {
      if (!gguf::is_rotation_tensor(name)) SWAGE_RETURN_IF_ERROR(add(name, shape));
    }
    return std::move(shapes_);
  }

 private:
  absl::Status add(const std::string& name, const std::vector<int64_t>& shape) {
    const size_t dot = name.rfind('.');
    const std::string suffix = dot == std::string::npos ? "" : name.substr(dot);
    std::string stem = name.substr(0, dot);
    std::string block;
    if (absl::StartsWith(stem, "blk.")) {
      const size_t end = stem.find('.', 4);
      if (end != std::string::npos) block = stem.substr(4, end - 4), stem = stem.substr(end);
    }
    int64_t number = 0;
    const bool inside = block.empty() || (absl::SimpleAtoi(block, &number) && number >= 0 &&
                                          number < sizes_.blocks && block == absl::StrCat(number));
    bool placed = false;
    for (const Name& entry : names_.all) {
      if (!inside || entry.gguf != stem || (stem[0] == '.') == block.empty()) continue;
      const bool whole = (entry.suffixes & gguf::kWhole) != 0;
      const int flag = suffix == ".weight" ? gguf::kWeight : suffix == ".bias" ? gguf::kBias : 0;
      if (whole ? suffix != ".bias" : (entry.suffixes & flag) == 0) continue;
      const std::string module = block.empty()
                                     ? entry.hugging_face
                                     : absl::StrCat(names_.blocks, ".", block, entry.hugging_face);
      SWAGE_RETURN_IF_ERROR(expand(entry, whole ? module : module + suffix, name, shape));
      placed = true;
    }
    if (placed) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\" has no place in a model of ", sizes_.blocks, " blocks"));
  }

  absl::Status expand(const Name& entry, const std::string& source, const std::string& name,
                      const std::vector<int64_t>& shape) {
    if (entry.move == Move::kStack) {
      if (shape.size() < 2 || shape[0] > 1 << 16)
        return absl::InvalidArgumentError(absl::StrCat("tensor \"", name, "\" is no stack"));
      for (int64_t i = 0; i < shape[0]; ++i) {
        shapes_[absl::StrReplaceAll(source, {{"*", absl::StrCat(i)}})] = {shape.begin() + 1,
                                                                          shape.end()};
      }
    } else if (entry.move == Move::kLatentKey || entry.move == Move::kLatentValue) {
      if (shape.size() != 3)
        return absl::InvalidArgumentError(
            absl::StrCat("tensor \"", name, "\" has no three dimensions"));
      const bool key = entry.move == Move::kLatentKey;
      std::vector<int64_t>& whole = shapes_[source];
      if (whole.empty()) whole = {0, shape[key ? 1 : 2]};
      whole[0] += shape[0] * shape[key ? 2 : 1];
    } else {
      shapes_[source] = shape;
    }
    return absl::OkStatus();
  }

  const gguf::Names& names_;
  const GgufContents& contents_;
  const Sizes& sizes_;
  TensorShapes shapes_;
};

struct Piece {
  int64_t begin, count;  // rows of the Hugging Face tensor
  const GgufPlan* plan;
  int64_t from, taken;  // rows of the file's tensor
};

absl::StatusOr<GgufPlan> join(const std::string& name, const std::vector<int64_t>& shape,
                              std::vector<Piece> pieces) {
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
  GgufPlan result;
  result.name = name;
  result.shape = shape;
  int64_t next = 0;
  for (const Piece& piece : pieces) {
    if (piece.begin != next) break;
    next += piece.count;
    size_t source = 0;
    while (source < result.sources.size() && result.sources[source].name != piece.plan->name)
      ++source;
    if (source == result.sources.size())
      result.sources.push_back({piece.plan->name, piece.plan->transposed});
    append(source, piece.from, piece.taken, &result.rows);
    result.added = -piece.plan->added;
    result.plain = piece.plan->plain;
  }
  if (next == rows_of(shape)) return result;
  return absl::InvalidArgumentError(
      absl::StrCat("the file lacks rows of \"", name, "\": from ", next, " of ", rows_of(shape)));
}

absl::StatusOr<std::vector<GgufPlan>> invert(const std::vector<GgufPlan>& plans,
                                             const TensorShapes& shapes) {
  std::map<std::string, std::vector<Piece>> pieces;
  for (const GgufPlan& plan : plans) {
    int64_t at = 0, all = 0;
    for (const GgufRows& rows : plan.rows) all += rows.count;
    // Vectors that became rows: each is one.
    const bool stacked = plan.transposed == 0 && !plan.rows.empty() && all != rows_of(plan.shape);
    const int64_t unit = stacked ? all / rows_of(plan.shape) : 1;
    for (const GgufRows& rows : plan.rows) {
      pieces[plan.sources[rows.source].name].push_back(
          {rows.begin, rows.count, &plan, at / unit, rows.count / unit});
      at += rows.count;
    }
  }
  std::vector<GgufPlan> result;
  for (auto& [name, parts] : pieces) {
    SWAGE_ASSIGN_OR_RETURN(GgufPlan plan, join(name, shapes.find(name)->second, std::move(parts)));
    result.push_back(std::move(plan));
  }
  return result;
}

}  // namespace

bool GgufPlan::is_copy() const {
  return sources.size() == 1 && rows.size() == 1 && rows[0].begin == 0 && transposed == 0 &&
         sources[0].transposed == 0 && added == 0 && rows[0].count == rows_of(shape);
}

absl::StatusOr<GgufPlans> plan_gguf(const Value& config, const TensorShapes& tensors) {
  SWAGE_ASSIGN_OR_RETURN(const gguf::Found found, gguf::find(config));
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, gguf::sizes_of(found.config));
  return Planner(found, sizes, tensors).run();
}

absl::StatusOr<std::vector<GgufPlan>> plan_hugging_face(const GgufContents& contents,
                                                        const Value& config) {
  SWAGE_ASSIGN_OR_RETURN(const gguf::Found found, gguf::find(config));
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, gguf::sizes_of(found.config));
  const gguf::Names names = found.architecture->names(found.config);
  SWAGE_ASSIGN_OR_RETURN(const TensorShapes shapes, Reverser(names, contents, sizes).run());
  SWAGE_ASSIGN_OR_RETURN(const GgufPlans plans, Planner(found, sizes, shapes).run());
  size_t found_again = 0;
  for (const GgufPlan& plan : plans.tensors) {
    const auto tensor = contents.tensors.find(plan.name);
    if (tensor == contents.tensors.end() || gguf::is_rotation_tensor(plan.name)) continue;
    if (tensor->second != plan.shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", plan.name, "\" has another shape than config.json tells"));
    }
    ++found_again;
  }
  size_t expected = contents.tensors.size();
  for (const auto& [name, shape] : contents.tensors)
    expected -= gguf::is_rotation_tensor(name) ? 1 : 0;
  if (found_again != expected)
    return absl::InvalidArgumentError("tensors of the file have no place in the model");
  return invert(plans.tensors, shapes);
}

}  // namespace swage::io
