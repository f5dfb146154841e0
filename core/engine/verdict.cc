#include "core/engine/verdict.h"

#include <ATen/ops/isfinite.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/decoded_source.h"
#include "core/engine/passage.h"
#include "core/engine/process.h"
#include "swage/border.h"
#include "swage/compressed_linear.h"
#include "swage/status.h"

namespace swage {
namespace {

// Digest of what lies on disk now, or why there is none.
absl::StatusOr<std::string> read_digest(const StoredItem& item, Exporter& exporter,
                                        const io::Checkpoint& checkpoint) {
  if (!item.is_linear) {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, checkpoint.weights().read(item.name));
    return digest(tensor);
  }
  SWAGE_ASSIGN_OR_RETURN(const auto linear, decode_linear(exporter, item.name, checkpoint));
  if (!linear) return absl::NotFoundError("the checkpoint holds plain floats");
  return digest(*linear);
}

// An error: decode() itself went wrong, which says nothing about the export.
absl::Status compare_items(const std::vector<StoredItem>& items, Exporter& exporter,
                           const io::Checkpoint& checkpoint, Reporter& reporter, Verdict* verdict) {
  for (size_t i = 0; i < items.size(); ++i) {
    const StoredItem& item = items[i];
    if (!interrupted().ok()) return;
    reporter.at(item.name, static_cast<double>(i) / static_cast<double>(items.size()));
    verdict->exact &= item.exact;
    const auto found = read_digest(item, exporter, checkpoint);
    if (found.status().GetPayload(kThrownByPlugin)) return found.status();
    if (!found.ok()) {
      verdict->differences.push_back(
          absl::StrCat(item.name, " cannot be read back: ", found.status().message()));
    } else if (*found != item.digest) {
      verdict->differences.push_back(absl::StrCat(item.name, " decodes to other bits (digest ",
                                                  *found, ", the run's is ", item.digest, ")"));
    } else {
      ++(item.is_linear ? verdict->linears : verdict->tensors);
    }
  }
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
  if (!at::isfinite(read.hidden).all().item<bool>()) {
    verdict->differences.push_back("the checkpoint computes hidden states that are not finite");
  } else if (verdict->exact && verdict->window_difference != 0) {
    verdict->differences.push_back(
        absl::StrCat("hidden states behind the last block differ from the run's by up to ",
                     verdict->window_difference));
  }
  return absl::OkStatus();
}

}  // namespace

Value to_value(const Verdict& verdict) {
  Value::List differences(verdict.differences.begin(), verdict.differences.end());
  Value::Table table = {{"verdict", verdict.ok() ? "ok" : "failed"},
                        {"linears_equal", verdict.linears},
                        {"tensors_equal", verdict.tensors},
                        {"differences", std::move(differences)},
                        {"windows", verdict.windows},
                        {"exact", verdict.exact}};
  if (verdict.windows > 0) table["window_difference"] = verdict.window_difference;
  return Value(std::move(table));
}

absl::StatusOr<Verdict> verify_export(const RunSetup& setup, const ExportWriter& writer,
                                      const std::vector<StoredItem>& items, Reporter& reporter) {
  Verdict verdict;
  SWAGE_ASSIGN_OR_RETURN(const auto checkpoint, io::open_checkpoint(writer.spec().path));
  SWAGE_RETURN_IF_ERROR(compare_items(items, *writer.exporter(), *checkpoint, reporter, &verdict));
  SWAGE_RETURN_IF_ERROR(interrupted());
  // Weights that cannot be read make no windows.
  if (verdict.ok()) SWAGE_RETURN_IF_ERROR(compare_windows(setup, writer, reporter, &verdict));
  return verdict;
}

}  // namespace swage
