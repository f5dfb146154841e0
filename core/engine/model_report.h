#pragma once
#include "absl/status/statusor.h"
#include "core/config/stored_form.h"
#include "core/engine/opened_model.h"
#include "swage/value.h"

namespace swage {

// What a model is made of, as `swage inspect --json` prints it (docs/cli.md names every key) and
// `swage inspect` shows it. Nothing of a checkpoint in floats is read but its headers.
absl::StatusOr<Value> model_report(const OpenedModel& model);
// The same of a checkpoint that no exporter here reads: what its files tell.
absl::StatusOr<Value> unread_report(const io::Checkpoint& checkpoint, const io::Header& header,
                                    const StoredForm& form);

}  // namespace swage
