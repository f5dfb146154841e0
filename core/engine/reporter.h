#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/value.h"

namespace swage {

// What a run tells while it works: a progress bar with stage, ETA and memory on a terminal, a line
// per block in a log, and JSON Lines with --events. Thread-safe is not needed: calls come from the
// thread of the sweep.
//
// Events: phase_begin {phase, total, done}, unit {phase, what, done, total, seconds, …figures},
// phase_end {phase, seconds}, note {text}, warning {text}, and those of event(). Each is one line
// that begins with "time" (UTC) and "event". When the file can no longer be written, the run warns
// and goes on without it.
class Reporter {
 public:
  struct Options {
    std::string events;  // file to add JSON Lines to; "" = none
    bool quiet = false;  // warnings and errors only, of the whole process; no table on stdout
  };
  // An error when the events file cannot be opened.
  static absl::StatusOr<std::unique_ptr<Reporter>> create(const Options& options);
  virtual ~Reporter() = default;

  // `total` units of work in this phase ("compress" counts blocks), `done` of them done before (a
  // resumed run): ETA comes from those done in this process.
  virtual void begin_phase(const std::string& phase, int64_t total, int64_t done) = 0;
  // What is worked on within the current unit ("block 3: gptq: attention.input") and how far the
  // unit is, 0 to 1. Redraws the bar at most ten times a second; writes no event.
  virtual void at(std::string_view what, double fraction) = 0;
  // A unit is finished and committed; `figures` (a table) go to the event and, where they are no
  // tables or lists, to the log line. "seconds" is measured when it is not among them.
  virtual void unit_done(std::string_view what, const Value& figures) = 0;
  virtual void end_phase() = 0;
  // What a user should know: a line above the bar, and an event.
  virtual void note(std::string_view text) = 0;
  virtual void warning(std::string_view text) = 0;
  // Anything else for programs: {"time": …, "event": name, …figures}.
  virtual void event(const std::string& name, const Value& figures) = 0;
  // Clears the bar.
  virtual void finish() = 0;
  // What the run was asked for, on stdout; nothing when it shall be quiet.
  virtual void print(std::string_view text) = 0;
};

}  // namespace swage
