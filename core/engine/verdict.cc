#include "core/engine/verdict.h"

#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/engine/decoded_source.h"
#include "core/engine/export_check.h"
#include "core/engine/passage.h"
#include "core/engine/process.h"
#include "core/engine/side_file_digests.h"
#include "swage/border.h"
#include "swage/io/gguf_header.h"
#include "swage/one_piece.h"
#include "swage/result.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr double kRoundedBound = 0.01;
constexpr double kFloatInputsBound = 1;

absl::StatusOr<Held> read_back(const StoredItem& item, Exporter& exporter,
                               const io::Checkpoint& checkpoint, const ReadLog& tensors) {
  if (!item.is_linear) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, tensors.read(item.name));
    return compare(item, tensor);
  }
  SWAGE_ASSIGN_OR_RETURN(const auto linear,
                         decode_linear(exporter, item.name, checkpoint, &tensors));
  if (!linear) return absl::NotFoundError("the checkpoint holds plain floats");
  return compare(item, *linear);
}

void count(const StoredItem& item, Held held, Verdict* verdict) {
  if (held == Held::kOther) {
    verdict->differences.push_back(absl::StrCat(
        item.name, " holds other values than the run's (its digest is ", item.digest, ")"));
  }
  verdict->rounded += held == Held::kRounded ? 1 : 0;
  verdict->float_inputs += held == Held::kFloatInputs ? 1 : 0;
  if (held == Held::kBits) ++(item.is_linear ? verdict->linears : verdict->tensors);
}

// Is config.json made of another description of the model? Then it says what that does, in the
// spelling of one family, and lacks the rest.
bool has_made_config(const io::Checkpoint& checkpoint) {
  const auto files = io::gguf_files(checkpoint.path());
  return files.ok() && !files->empty();
}

// Such a format has no place for what they compute without.
bool may_lack(const RunSetup& setup, const StoredItem& item, const io::Checkpoint& checkpoint) {
  return has_made_config(checkpoint) && !item.is_linear &&
         setup.model->ledger().carried.count(item.name) > 0 && !checkpoint.weights().has(item.name);
}

// An error: decode() itself went wrong, which says nothing about the export.
absl::Status compare_items(const RunSetup& setup, const std::vector<StoredItem>& items,
                           Exporter& exporter, const io::Checkpoint& checkpoint,
                           const ReadLog& tensors, Reporter& reporter, Verdict* verdict) {
  for (size_t i = 0; i < items.size(); ++i) {
    const StoredItem& item = items[i];
    SWAGE_RETURN_IF_ERROR(interrupted());
    reporter.at(item.name, static_cast<double>(i) / static_cast<double>(items.size()));
    if (may_lack(setup, item, checkpoint)) continue;
    const auto held = read_back(item, exporter, checkpoint, tensors);
    if (held.status().GetPayload(kThrownByPlugin)) return held.status();
    if (held.ok()) {
      count(item, *held, verdict);
    } else {
      verdict->differences.push_back(
          absl::StrCat(item.name, " cannot be read back: ", held.status().message()));
    }
  }
  return absl::OkStatus();
}

// What lies in the export beside everything that the run gave.
void find_foreign(const std::vector<StoredItem>& items, const ReadLog& tensors, Verdict* verdict) {
  std::set<std::string> linears;
  for (const StoredItem& item : items) {
    if (item.is_linear) linears.insert(item.name);
  }
  for (const std::string& name : tensors.unread()) {
    const bool of_linear = linears.count(name.substr(0, name.rfind('.'))) > 0;
    verdict->differences.push_back(absl::StrCat(
        name, of_linear ? " is there, but decode() does not read it" : " is no tensor of the run"));
  }
}

// decode() that answers with what it remembers says nothing about files: of other values it must
// make something else.
absl::Status try_other_values(const std::vector<StoredItem>& items, Exporter& exporter,
                              const io::Checkpoint& checkpoint, Verdict* verdict) {
  for (const StoredItem& item : items) {
    if (!item.is_linear) continue;
    SWAGE_ASSIGN_OR_RETURN(const auto own, decode_linear(exporter, item.name, checkpoint));
    if (!own || !decode(*own).any().item<bool>()) continue;
    const OtherValues tensors(checkpoint.weights());
    const auto linear = decode_linear(exporter, item.name, checkpoint, &tensors);
    if (linear.ok() && *linear && compare(item, **linear) != Held::kOther)
      verdict->differences.push_back(
          absl::StrCat(item.name, ": decode() gives the run's values, whatever the files hold"));
    break;
  }
  return absl::OkStatus();
}

// What lies beside the weights, and config.json but for the quantization.
absl::Status compare_files(const RunSetup& setup, const io::Checkpoint& checkpoint,
                           Verdict* verdict) {
  SWAGE_ASSIGN_OR_RETURN(const Value found, side_file_digests(checkpoint));
  std::vector<std::string>& differences = verdict->differences;
  for (std::string& difference : export_file_differences(setup.side_files, found))
    differences.push_back(std::move(difference));
  const Value given = config_of_export(*setup.model, checkpoint.weights());
  const auto found_in = has_made_config(checkpoint) ? number_differences : config_differences;
  for (const std::string& difference : found_in(given, checkpoint.config()))
    differences.push_back("config.json: " + difference);
  return absl::OkStatus();
}

// Hidden states behind the last block, through what the export decodes to.
absl::StatusOr<TokenStream> run_windows(const RunSetup& setup, const ExportWriter& writer,
                                        const OpenedModel& model, Reporter& reporter) {
  TokenStream stream;
  stream.name = "verification.compressed";
  stream.role = Role::kCompressed;
  stream.sequences = &setup.verification;
  const auto count = static_cast<double>(model.blocks().size());
  double passed = 0;
  SWAGE_RETURN_IF_ERROR(pass_through(model, View::kCompressed, stream, [&](const BlockId& id) {
    reporter.at(absl::StrCat(writer.spec().name, ": windows, ", text_of(id)), passed++ / count);
  }));
  return stream;
}

absl::Status compare_windows(const RunSetup& setup, const ExportWriter& writer, Reporter& reporter,
                             Verdict* verdict) {
  verdict->why_no_windows = setup.why_no_windows;
  if (setup.verification.empty()) return absl::OkStatus();
  std::vector<TokenStream> own(1);
  own[0].name = "verification.compressed";
  own[0].sequences = &setup.verification;
  SWAGE_RETURN_IF_ERROR(
      load_streams(setup.verified_file(), setup.model->options().device, kLanguage, &own));
  SWAGE_ASSIGN_OR_RETURN(const OpenedModel model,
                         OpenedModel::open_with(writer.spec().path, setup.catalog, *setup.loader,
                                                setup.model->options(), writer.exporter()));
  SWAGE_ASSIGN_OR_RETURN(const TokenStream read, run_windows(setup, writer, model, reporter));
  verdict->windows = setup.verification.sequence_count();
  verdict->window_difference = (read.hidden - own[0].hidden).abs().max().item<double>();
  const auto norm_of = [](const at::Tensor& x) {
    return in_one_piece([&] { return x.norm().item<double>(); });
  };
  const double scale = norm_of(own[0].hidden.to(at::kDouble));
  const double apart = norm_of(read.hidden.to(at::kDouble) - own[0].hidden);
  verdict->window_relative = apart == 0 ? 0 : apart / std::max(scale, 1e-30);
  if (!at::isfinite(read.hidden).all().item<bool>()) {
    verdict->differences.push_back("the checkpoint computes hidden states that are not finite");
  } else if (verdict->exact() && verdict->window_difference != 0) {
    verdict->differences.push_back(
        absl::StrCat("hidden states behind the last block differ from the run's by up to ",
                     verdict->window_difference));
  } else if (verdict->window_relative > verdict->bound()) {
    verdict->differences.push_back(absl::StrFormat(
        "inexact (%d rounded, %d with inputs in floats): hidden states behind the last block "
        "differ from the run's by %.3g %%, the bound is %g %%",
        verdict->rounded, verdict->float_inputs, verdict->window_relative * 100,
        verdict->bound() * 100));
  }
  return absl::OkStatus();
}

}  // namespace

double Verdict::bound() const {
  if (float_inputs > 0) return kFloatInputsBound;
  return rounded > 0 ? kRoundedBound : 0;
}

Value to_value(const Verdict& verdict) {
  Value::List differences(verdict.differences.begin(), verdict.differences.end());
  Value::Table table = {{"verdict", verdict.ok() ? "ok" : "failed"},
                        {"linears_equal", verdict.linears},
                        {"tensors_equal", verdict.tensors},
                        {"differences", std::move(differences)},
                        {"windows", verdict.windows},
                        {"rounded", verdict.rounded},
                        {"float_inputs", verdict.float_inputs},
                        {"exact", verdict.exact()}};
  if (verdict.windows > 0) {
    table["window_difference"] = verdict.window_difference;
    table["window_relative"] = verdict.window_relative;
    table["window_bound"] = verdict.bound();
  } else {
    table["why_no_windows"] = verdict.why_no_windows;
  }
  return Value(std::move(table));
}

absl::StatusOr<Verdict> verify_export(const RunSetup& setup, const ExportWriter& writer,
                                      const std::vector<StoredItem>& items, Reporter& reporter) {
  Verdict verdict;
  SWAGE_ASSIGN_OR_RETURN(const auto checkpoint, io::open_checkpoint(writer.spec().path));
  const ReadLog tensors(checkpoint->weights());
  Exporter& exporter = *writer.exporter();
  SWAGE_RETURN_IF_ERROR(
      compare_items(setup, items, exporter, *checkpoint, tensors, reporter, &verdict));
  if (verdict.ok()) find_foreign(items, tensors, &verdict);
  if (verdict.ok()) SWAGE_RETURN_IF_ERROR(try_other_values(items, exporter, *checkpoint, &verdict));
  SWAGE_RETURN_IF_ERROR(compare_files(setup, *checkpoint, &verdict));
  // Weights that cannot be read make no windows.
  verdict.why_no_windows = "what the export holds differs already";
  if (verdict.ok()) SWAGE_RETURN_IF_ERROR(compare_windows(setup, writer, reporter, &verdict));
  return verdict;
}

}  // namespace swage
