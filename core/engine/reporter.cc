#include "core/engine/reporter.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/log.h"
#include "core/base/plain_output.h"
#include "core/engine/process.h"
#include "core/engine/progress_bar.h"
#include "swage/printable.h"
#include "swage/status.h"

namespace swage {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kRedraw{100};

int terminal_width() {
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return (known ? size.ws_col : 80) -
         1;  // a character in the last column makes some terminals wrap
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class StderrReporter final : public Reporter {
 public:
  StderrReporter(std::ofstream events, std::string events_path, bool quiet)
      : events_(std::move(events)),
        events_path_(std::move(events_path)),
        quiet_(quiet),
        draws_(!quiet && draws_on_terminal()) {}
  ~StderrReporter() override { clear(); }

  void begin_phase(const std::string& phase, int64_t total, int64_t done) override {
    progress_ = Progress();
    progress_.phase = phase;
    progress_.total = total;
    progress_.done = begun_with_ = done;
    phase_start_ = unit_start_ = Clock::now();
    event("phase_begin", Value::Table{{"phase", phase}, {"total", total}, {"done", done}});
    draw();
  }

  void at(std::string_view what, double fraction) override {
    progress_.what = printable(what);
    progress_.fraction = fraction;
    if (Clock::now() - drawn_ >= kRedraw) draw();
  }

  void unit_done(std::string_view what, const Value& figures) override {
    Value::Table all;
    if (figures.table() != nullptr) all = *figures.table();
    all.emplace("seconds", seconds_since(unit_start_));
    ++progress_.done;
    progress_.fraction = 0;
    unit_start_ = Clock::now();
    if (!draws_) log_unit(std::string(what), all);
    all["what"] = std::string(what);
    all["phase"] = progress_.phase;
    all["done"] = progress_.done;
    all["total"] = progress_.total;
    event("unit", Value(std::move(all)));
    draw();
  }

  void end_phase() override {
    const double seconds = seconds_since(phase_start_);
    clear();
    log_info(absl::StrCat(progress_.phase, ": ", progress_.done, " of ", progress_.total, " in ",
                          duration_text(seconds)));
    event("phase_end", Value::Table{{"phase", progress_.phase}, {"seconds", seconds}});
    progress_ = Progress();
  }

  void note(std::string_view text) override {
    clear();
    log_info(printable(text));
    event("note", Value::Table{{"text", std::string(text)}});
    draw();
  }

  void warning(std::string_view text) override {
    clear();
    log_warning(printable(text));
    event("warning", Value::Table{{"text", std::string(text)}});
    draw();
  }

  void event(const std::string& name, const Value& figures) override {
    if (!events_.is_open()) return;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    events_ << event_line(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(), name,
                          figures)
            << std::endl;  // flushed: someone reads along
    if (events_) return;
    events_.close();  // the run is worth more than its events
    clear();
    log_warning(absl::StrCat(events_path_, ": events cannot be written (", std::strerror(errno),
                             "); the run goes on without them"));
  }

  void finish() override { clear(); }

  void print(std::string_view text) override {
    clear();
    if (!quiet_) std::fprintf(stdout, "%.*s", static_cast<int>(text.size()), text.data());
  }

 private:
  void log_unit(const std::string& what, Value::Table figures) const {
    double seconds = 0;
    figures["seconds"].number(&seconds);
    figures.erase("seconds");
    const std::string others = figures_text(Value(std::move(figures)));
    const double left = time_left();
    log_info(absl::StrCat(progress_.phase, " ", progress_.done, " of ", progress_.total, ": ",
                          printable(what), ", ", duration_text(seconds), others.empty() ? "" : ", ",
                          others,
                          left > 0 ? absl::StrCat(", ", duration_text(left), " left") : ""));
  }

  double time_left() const {
    const double at = static_cast<double>(progress_.done) + progress_.fraction;
    return seconds_left(seconds_since(phase_start_), at - static_cast<double>(begun_with_),
                        static_cast<double>(progress_.total) - at);
  }

  void draw() {
    if (!draws_ || progress_.phase.empty() || !interrupted().ok()) return;
    progress_.seconds_left = time_left();
    progress_.bytes = current_host_bytes();
    bar_is_drawn(true);  // before it is: a signal may come in between
    std::fprintf(stderr, "\r%s\x1b[K", bar_line(progress_, terminal_width()).c_str());
    std::fflush(stderr);
    drawn_ = Clock::now();
    visible_ = true;
  }

  void clear() {
    if (!visible_) return;
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
    visible_ = false;
    bar_is_drawn(false);
  }

  std::ofstream events_;
  const std::string events_path_;
  const bool quiet_, draws_;
  bool visible_ = false;
  Progress progress_;
  int64_t begun_with_ = 0;
  Clock::time_point phase_start_, unit_start_, drawn_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reporter>> Reporter::create(const Options& options) {
  std::ofstream events;
  if (!options.events.empty()) {
    events.open(options.events, std::ios::app);
    if (!events)
      return with_exit_code(absl::FailedPreconditionError(
                                absl::StrCat(options.events, ": events cannot be written there (",
                                             std::strerror(errno), "); see --events")),
                            ExitCode::kUsage);
  }
  if (options.quiet) set_log_level(LogLevel::kWarning);
  return std::make_unique<StderrReporter>(std::move(events), options.events, options.quiet);
}

}  // namespace swage
