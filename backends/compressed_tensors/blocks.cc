// Read from the source of vLLM 0.32; transformers 5.23 with compressed-tensors 0.20 was tried.
#include "blocks.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "arguments.h"
#include "swage/remark.h"

namespace swage::compressed_tensors {
namespace {

// "" or what vLLM does with the inputs of such blocks.
std::string in_vllm(const Arguments& weight, const Arguments& input) {
  if (input.dynamic == "false") return "refuses them";
  if (input.strategy == "group" && input.group_size == weight.block_rows) return "";
  return absl::StrCat("takes a scale for ", weight.block_rows,
                      " columns of a token instead, which is not what was measured");
}

}  // namespace

void remark_on_blocks(const std::vector<LinearSummary>& planned) {
  int64_t uneven = 0;
  std::string first;
  std::set<std::string> inputs;
  for (const LinearSummary& linear : planned) {
    if (!linear.kept_by.empty()) continue;
    const Arguments weight = *to_arguments(*linear.weight);
    if (weight.strategy != "block") continue;
    if (linear.out % weight.block_rows != 0 && ++uneven == 1)
      first =
          absl::StrCat(linear.name, " has ", linear.out, " rows, blocks of ", weight.block_rows);
    if (!linear.activation) continue;
    const std::string fate = in_vllm(weight, *input_arguments(*linear.activation));
    if (!fate.empty())
      inputs.insert(absl::StrCat("fp8 blocks with inputs in ", linear.activation->describe(),
                                 ": vLLM 0.32 ", fate));
  }
  if (uneven > 0)
    remark(absl::StrCat(uneven, " linears end in the middle of a block (", first,
                        "): vLLM 0.32 refuses them where it joins matrices (q, k and v; gate and "
                        "up) or splits them among devices; transformers 5.23 reads them"));
  for (const std::string& text : inputs) remark(text);
}

}  // namespace swage::compressed_tensors
