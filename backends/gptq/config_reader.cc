#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config.h"
#include "rules.h"
#include "swage/status.h"
#include "swage/store/config_table.h"

namespace swage::gptq {
namespace {

constexpr char kPath[] = "quantization_config";
constexpr int64_t kMostColumns = int64_t{1} << 30;

// Keys that change how tensors are read, wherever they stand; others tell how codes were found.
void read_scheme(store::ConfigTable* table, StoredAs* stored) {
  store::IntegerForm* const form = &stored->form.integers;
  if (!(*table)[{"bits", "w_bit", "wbits"}].is_null())
    form->bits = static_cast<int>(table->integer({"bits", "w_bit", "wbits"}, {2, 3, 4, 8}));
  const int64_t stated = form->group == 0 ? -1 : form->group;
  const int64_t group = table->integer({"group_size", "q_group_size"}, -1, kMostColumns, stated);
  if (group == 0) table->fail("group_size", "-1 or a size");
  form->group = group < 0 ? 0 : group;
  form->symmetric = table->flag("sym", form->symmetric);
  stored->scattered = table->flag("desc_act", stored->scattered);
}

// "gptq", "gptq_v2"; both keys may name it.
bool read_zeros_less_one(store::ConfigTable* table) {
  const std::string first = absl::AsciiStrToLower(table->text({"checkpoint_format"}, "gptq"));
  const std::string format = absl::AsciiStrToLower(table->text({"format"}, first));
  if (format != "gptq" && format != "gptq_v2")
    table->fail(table->has("format") ? "format" : "checkpoint_format", "\"gptq\" or \"gptq_v2\"");
  if (table->has("checkpoint_format") && first != format)
    table->fail("checkpoint_format", absl::StrCat("\"", format, "\", as format says"));
  return format != "gptq_v2";
}

void expect_known(store::ConfigTable* table) {
  const std::string method = absl::AsciiStrToLower(table->text({"quant_method", "method"}, "gptq"));
  if (method != "gptq") table->fail("quant_method", "\"gptq\"");
  for (const char* key : {"is_marlin_format", "adapter", "rotation"}) table->expect_none(key);
  const std::string words = table->text({"pack_dtype"}, "int32");
  if (words != "int32" && words != "torch.int32") table->fail("pack_dtype", "\"int32\"");
}

}  // namespace

absl::StatusOr<StoredAs> read_config(const Value& block, const std::string& linear) {
  store::ConfigTable table(block, kPath);
  StoredAs stored;
  if (table[{"bits", "w_bit", "wbits"}].is_null()) table.fail("bits", "2, 3, 4 or 8");
  read_scheme(&table, &stored);
  stored.form.zeros_less_one = read_zeros_less_one(&table);
  expect_known(&table);
  if (const std::string name = table.text({"scale_dtype"}, ""); !name.empty()) {
    stored.scales = store::dtype_named(name);
    if (stored.scales == at::ScalarType::Undefined) table.fail("scale_dtype", "a type of floats");
  }
  SWAGE_RETURN_IF_ERROR(table.status());
  const std::string path = absl::StrCat(kPath, ".dynamic");
  SWAGE_ASSIGN_OR_RETURN(const Value rule, find_rule(block["dynamic"], path, linear));
  if (rule.is_null()) return stored;
  store::ConfigTable overrides(rule, path);
  read_scheme(&overrides, &stored);
  for (const char* key : {"format", "checkpoint_format", "method", "pack_dtype", "adapter"})
    overrides.expect_none(key);
  SWAGE_RETURN_IF_ERROR(overrides.status());
  return stored;
}

}  // namespace swage::gptq
