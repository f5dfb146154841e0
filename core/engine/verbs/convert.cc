#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/run.h"
#include "core/engine/verbs/verbs.h"
#include "swage/status.h"

namespace swage {
namespace {

// Floats in a format that is there for codes: nothing would come of it.
absl::Status check_codes(const Arguments& arguments, const RunSetup& setup) {
  SWAGE_ASSIGN_OR_RETURN(const Catalog::Found found, setup.catalog.find("exporter", arguments.to));
  if (setup.model->quantized() || !arguments.requantize.empty() ||
      found.component->quant_method.empty())
    return absl::OkStatus();
  return with_exit_code(
      absl::InvalidArgumentError(absl::StrCat(
          arguments.target, ": holds floats, and \"", arguments.to,
          "\" is there for what has codes; `--requantize SCHEME` says what its linears become, "
          "such as --requantize 'bits = 8, group = 32'")),
      ExitCode::kInput);
}

// A format that cannot hold what the checkpoint has.
absl::Status with_way_out(const Arguments& arguments, const absl::Status& refused) {
  if (!arguments.requantize.empty() || exit_code(refused) != static_cast<int>(ExitCode::kPipeline))
    return refused;
  return with_exit_code(
      absl::Status(refused.code(), absl::StrCat(refused.message(),
                                                "\na checkpoint is converted exactly or not at "
                                                "all; `--requantize SCHEME` rounds what it "
                                                "decodes to anew")),
      ExitCode::kPipeline);
}

}  // namespace

absl::Status convert(const Arguments& arguments) {
  RunCommand command = {"convert",
                        std::filesystem::current_path().string(),
                        arguments.pipeline,
                        arguments.sets,
                        arguments.plugin_path,
                        arguments.overwrite,
                        arguments.recipe};
  SWAGE_ASSIGN_OR_RETURN(LoadedPipeline loaded, load_run(command));
  SWAGE_ASSIGN_OR_RETURN(const auto reporter,
                         Reporter::create({arguments.events, arguments.quiet}));
  auto setup = set_up_run(std::move(loaded));
  if (!setup.ok()) return with_way_out(arguments, setup.status());
  SWAGE_RETURN_IF_ERROR(check_codes(arguments, **setup));
  SWAGE_ASSIGN_OR_RETURN(Journal journal, start_journal(**setup, command));
  return execute(**setup, journal, *reporter);
}

}  // namespace swage
