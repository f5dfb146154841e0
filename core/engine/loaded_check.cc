#include "core/engine/loaded_check.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/engine/opened_model.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kMostOfAnything = int64_t{1} << 40;

std::string form_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return absl::StrCat(c10::toString(tensor.scalar_type()), " [",
                      absl::StrJoin(tensor.sizes().vec(), ", "), "]");
}

// Does config.json say this number somewhere?
bool says(const Value& value, int64_t number) {
  double found = 0;
  if (value.table() != nullptr) {
    return std::any_of(value.table()->begin(), value.table()->end(),
                       [&](const auto& item) { return says(item.second, number); });
  }
  return value.number(&found) && found == static_cast<double>(number);
}

absl::Status wrong_size(int64_t found, const std::string& text, const Value& config) {
  if (found == 0 || !says(config, found))
    return plugin_fault(absl::StrCat("shape() asks for ", text));
  return with_exit_code(absl::InvalidArgumentError(absl::StrCat("config.json asks for ", text)),
                        ExitCode::kInput);
}

// The pointers of a block that must lead into it.
class BlockCheck {
 public:
  BlockCheck(Block& block, at::Device device) : block_(block), device_(device) {
    for (const Linear& linear : block.linears()) linears_.insert(&linear);
    for (const Parameter& parameter : block.parameters()) parameters_.insert(&parameter);
  }

  absl::Status tensors() const {
    std::unordered_set<std::string_view> names;
    for (const Linear& linear : block_.linears()) {
      SWAGE_RETURN_IF_ERROR(named(linear.name, &names));
      SWAGE_RETURN_IF_ERROR(matrix(linear));
    }
    for (const Parameter& parameter : block_.parameters()) {
      SWAGE_RETURN_IF_ERROR(named(parameter.name, &names));
      if (!parameter.value.defined() || !parameter.value.is_floating_point())
        return plugin_fault(
            absl::StrCat(parameter.name, " is ", form_of(parameter.value), ", expected floats"));
    }
    return absl::OkStatus();
  }

  absl::Status subsets() const {
    std::set<const Linear*> before, passed;  // of the subsets before: linears; readers, too
    for (const Subset& subset : block_.subsets()) {
      if (subset.input.empty() || subset.linears.size() + subset.readers.size() == 0)
        return plugin_fault(absl::StrCat("subset \"", subset.name, "\" has no input or no linear"));
      SWAGE_RETURN_IF_ERROR(members(subset));
      for (const Subset& part : subset.parts) SWAGE_RETURN_IF_ERROR(members(part));
      SWAGE_RETURN_IF_ERROR(fold(subset, passed));
      for (const Linear* linear : subset.linears) {
        if (before.insert(linear).second) continue;
        return plugin_fault(absl::StrCat(linear->name, " stands in two places of the stages"));
      }
      passed.insert(subset.linears.begin(), subset.linears.end());
      passed.insert(subset.readers.begin(), subset.readers.end());
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status named(const std::string& name, std::unordered_set<std::string_view>* names) {
    if (name.empty()) return plugin_fault("a tensor without a name");
    if (names->insert(name).second) return absl::OkStatus();
    return plugin_fault(absl::StrCat("two tensors of the name ", name));
  }

  absl::Status matrix(const Linear& linear) const {
    const at::Tensor& weight = linear.weight;
    if (!weight.defined() || weight.dim() != 2 || weight.numel() == 0 ||
        !weight.is_floating_point() || weight.device() != device_)
      return plugin_fault(absl::StrCat(linear.name, ".weight is ", form_of(weight),
                                       ", expected floats [out, in] on ", device_.str()));
    if (!linear.bias.defined()) return absl::OkStatus();
    if (linear.bias.dim() == 1 && linear.bias.size(0) == linear.out() &&
        linear.bias.is_floating_point())
      return absl::OkStatus();
    return plugin_fault(absl::StrCat(linear.name, ".bias is ", form_of(linear.bias),
                                     ", expected floats [", linear.out(), "]"));
  }

  absl::Status members(const Subset& subset) const {
    for (const std::vector<Linear*>* linears : {&subset.linears, &subset.readers}) {
      for (const Linear* linear : *linears) {
        if (linears_.count(linear) == 0)
          return plugin_fault(absl::StrCat(
              "subset \"", subset.name, "\" has ",
              linear == nullptr ? "a null linear" : "a linear that is not the block's"));
        if (linear->in() != linears->front()->in())
          return plugin_fault(absl::StrCat("subset \"", subset.name, "\": ", linear->name,
                                           " reads ", linear->in(), " channels, ",
                                           linears->front()->name, " ", linears->front()->in()));
      }
    }
    return absl::OkStatus();
  }

  absl::Status fold(const Subset& subset, const std::set<const Linear*>& passed) const {
    const FoldTarget& target = subset.fold;
    const std::string what = absl::StrCat("subset \"", subset.name, "\": its fold target ");
    if (target.kind == FoldTarget::Kind::kNorm) {
      const bool known = parameters_.count(target.norm_weight) > 0 &&
                         (target.norm_bias == nullptr || parameters_.count(target.norm_bias) > 0);
      return known ? absl::OkStatus() : plugin_fault(what + "is no parameter of the block");
    }
    if (target.kind != FoldTarget::Kind::kLinearRows) return absl::OkStatus();
    if (passed.count(target.linear) == 0)
      return plugin_fault(what + "is no linear of a stage before it");
    const Linear& reader = *(subset.linears.empty() ? subset.readers : subset.linears).front();
    const at::Tensor& rows = target.row_of_channel;
    const bool fits = rows.defined() && rows.scalar_type() == at::kLong && rows.dim() == 1 &&
                      rows.size(0) == reader.in() && exist(rows, target.linear->out());
    return fits ? absl::OkStatus() : plugin_fault(what + "has rows that do not exist");
  }

  // Experts of one width share a tensor.
  bool exist(const at::Tensor& rows, int64_t count) const {
    if (rows.is_same(existing_) && count == existing_count_) return true;
    if (!rows.ge(0).all().item<bool>() || !rows.lt(count).all().item<bool>()) return false;
    existing_ = rows;
    existing_count_ = count;
    return true;
  }

  Block& block_;
  const at::Device device_;
  std::set<const Linear*> linears_;
  std::set<const Parameter*> parameters_;
  mutable at::Tensor existing_;  // rows that were looked at last
  mutable int64_t existing_count_ = 0;
};

absl::Status check_parameters(const std::deque<Parameter>& parameters) {
  for (const Parameter& parameter : parameters) {
    if (parameter.name.empty() || !parameter.value.defined() ||
        !parameter.value.is_floating_point())
      return plugin_fault(absl::StrCat("parameter \"", parameter.name, "\" is ",
                                       form_of(parameter.value), ", expected floats"));
  }
  return absl::OkStatus();
}

constexpr int64_t kComparedRows = 8, kComparedValues = int64_t{1} << 16;

absl::Status other_values(const std::string& name) {
  return plugin_fault(
      absl::StrCat(name,
                   " was loaded with other values than the checkpoint's; what a part of the "
                   "model does with them belongs into its forward pass"));
}

// Rows spread over the tensor; small ones whole.
absl::Status compare_values(const std::string& name, const at::Tensor& held,
                            const WeightSource& source) {
  if (!source.has(name)) return absl::OkStatus();  // the ledger has judged it
  SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, source.shape(name));
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  if (count != held.numel()) return other_values(name);
  if (count == 0) return absl::OkStatus();
  const int64_t rows = shape.empty() ? 1 : shape[0], width = count / rows;
  const at::Tensor matrix = held.reshape({rows, width});
  const auto same = [&](const at::Tensor& stored, int64_t row) {
    const at::Tensor part = matrix.narrow(0, row, stored.numel() / width);
    return stored.to(held.scalar_type()).reshape(part.sizes()).equal(part.cpu());
  };
  if (count <= kComparedValues || shape.empty()) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, source.read(name));
    return same(stored, 0) ? absl::OkStatus() : other_values(name);
  }
  for (int64_t i = 0; i < std::min(rows, kComparedRows); ++i) {
    const int64_t row = i * (rows - 1) / std::max<int64_t>(1, std::min(rows, kComparedRows) - 1);
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor stored, source.read_rows(name, row, row + 1));
    if (!same(stored, row)) return other_values(name);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_values(const std::deque<Linear>& linears,
                          const std::deque<Parameter>& parameters, const WeightSource& source) {
  for (const Linear& linear : linears) {
    SWAGE_RETURN_IF_ERROR(compare_values(linear.name + ".weight", linear.weight, source));
    if (linear.bias.defined())
      SWAGE_RETURN_IF_ERROR(compare_values(linear.name + ".bias", linear.bias, source));
  }
  for (const Parameter& parameter : parameters)
    SWAGE_RETURN_IF_ERROR(compare_values(parameter.name, parameter.value, source));
  return absl::OkStatus();
}

absl::Status check_shape(const ModelShape& shape, int64_t tensors, const Value& config) {
  if (shape.towers.empty() || shape.towers.back().name != kLanguage)
    return plugin_fault("shape() gives no tower \"language\" as the last one");
  std::set<std::string> names;
  for (const Tower& tower : shape.towers) {
    if (!names.insert(tower.name).second)
      return plugin_fault(absl::StrCat("shape() gives two towers \"", tower.name, "\""));
    const int64_t least = tower.name == kLanguage ? 1 : 0;
    if (tower.block_count >= least && tower.block_count <= tensors) continue;
    return wrong_size(tower.block_count,
                      absl::StrCat(tower.block_count, " blocks of ", tower.name, ", but there are ",
                                   tensors, " tensors in all"),
                      config);
  }
  const std::pair<const char*, int64_t> sizes[] = {{"hidden_size", shape.hidden_size},
                                                   {"vocab_size", shape.vocab_size}};
  for (const auto& [name, size] : sizes) {
    if (size < 1 || size > kMostOfAnything)
      return wrong_size(size, absl::StrCat(name, " ", size), config);
  }
  return absl::OkStatus();
}

absl::Status check_block(Block* block, const BlockId& id, const LoadOptions& options) {
  if (block == nullptr) return plugin_fault("null instead of a block");
  if (!(block->id() == id))
    return plugin_fault(absl::StrCat("the adapter answers with ", text_of(block->id()), " where ",
                                     text_of(id), " was asked for"));
  const BlockCheck check(*block, options.device);
  SWAGE_RETURN_IF_ERROR(check.tensors());
  return check.subsets();
}

absl::Status check_embedding(Embedding* embedding) {
  if (embedding == nullptr) return plugin_fault("null instead of an embedding");
  return check_parameters(embedding->parameters());
}

absl::Status check_head(Head* head) {
  if (head == nullptr) return plugin_fault("null instead of a head");
  return check_parameters(head->parameters());
}

absl::Status check_end(const Linear& linear) {
  const at::Tensor& weight = linear.weight;
  if (linear.name.empty()) return plugin_fault("linear() gives one without a name");
  if (linear.bias.defined()) return plugin_fault("linear() gives one with a bias");
  if (weight.defined() && weight.dim() == 2 && weight.numel() > 0 && weight.is_floating_point())
    return absl::OkStatus();
  return plugin_fault(absl::StrCat("linear() gives ", linear.name, ".weight as ", form_of(weight),
                                   ", expected floats [out, in]"));
}

absl::Status check_changed_parameters(const std::deque<Parameter>& loaded,
                                      const std::deque<Parameter>& changed) {
  for (const Parameter& before : loaded) {
    const bool kept = std::any_of(changed.begin(), changed.end(), [&](const Parameter& after) {
      return after.name == before.name && after.storage == before.storage &&
             after.value.defined() && after.value.sizes() == before.value.sizes();
    });
    if (!kept)
      return plugin_fault(absl::StrCat(
          before.name, " was left with another name or shape, expected ", form_of(before.value)));
  }
  for (const Parameter& after : changed) {
    if (!after.value.defined() || !after.value.is_floating_point() ||
        !after.value.isfinite().all().item<bool>())
      return plugin_fault(
          absl::StrCat(after.name, " was left ", form_of(after.value), ", expected finite floats"));
  }
  return absl::OkStatus();
}

absl::Status check_rows(const char* what, const at::Tensor& tensor, int64_t rows, int64_t width) {
  if (tensor.defined() && tensor.dim() == 2 && tensor.is_floating_point() &&
      (rows < 0 || tensor.size(0) == rows) && (width <= 0 || tensor.size(1) == width))
    return absl::OkStatus();
  return plugin_fault(absl::StrCat(what, " is ", form_of(tensor), ", expected floats [",
                                   rows < 0 ? "rows" : absl::StrCat(rows), ", ",
                                   width <= 0 ? "width" : absl::StrCat(width), "]"));
}

absl::Status check_stage(Block& block, int64_t stage, const Slots& slots, int64_t width) {
  if (stage + 1 == block.stage_count()) {
    if (!slots.has(kHidden)) return plugin_fault("the last stage leaves no slot \"hidden\"");
    return check_rows("the block's output", slots.at(kHidden), slots.tokens(), width);
  }
  const Subset& subset = block.subsets()[static_cast<size_t>(stage)];
  if (!slots.has(subset.input))
    return plugin_fault(absl::StrCat("the stage leaves no slot \"", subset.input,
                                     "\", which subset \"", subset.name, "\" reads"));
  const bool whole = !slots.is_aside(subset.input) && !slots.is_routed(subset.input);
  const Linear& reader = *(subset.linears.empty() ? subset.readers : subset.linears).front();
  return check_rows(absl::StrCat("slot \"", subset.input, "\"").c_str(), slots.at(subset.input),
                    whole ? slots.tokens() : -1, reader.in());
}

}  // namespace swage
