#include "swage/call_site.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "catching.h"
#include "process_state.h"
#include "swage/border.h"
#include "swage/printable.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr char kOriginSaid[] = "swage.origin-said";
constexpr size_t kTextSize = 1024, kStackSize = 32 << 10;

// The call that a thread is in. Lives outside of the thread: exit() and signals find it whatever
// has been torn down, and a thread that has none of its own names that of another.
struct Crumb {
  std::atomic<bool> taken;
  char head[kTextSize], origin[kTextSize], text[2 * kTextSize + 4];
  char stack[kStackSize];  // for signals, where the thread has no such stack: one has overflown
};
Crumb crumbs[64];
thread_local Crumb* own = nullptr;

bool is_main_thread() { return gettid() == getpid(); }

// The first one is the main thread's; null where all are taken.
Crumb* take_crumb() {
  for (Crumb& crumb : crumbs) {
    if ((&crumb == crumbs) != is_main_thread()) continue;
    bool expected = false;
    if (crumb.taken.compare_exchange_strong(expected, true)) return &crumb;
  }
  return nullptr;
}

void lay(Crumb& crumb, const std::string& head, const std::string& origin) {
  std::snprintf(crumb.head, kTextSize, "%s", head.c_str());
  std::snprintf(crumb.origin, kTextSize, "%s", origin.c_str());
  std::snprintf(crumb.text, sizeof crumb.text, *crumb.origin == '\0' ? "%s" : "%s (%s)", crumb.head,
                crumb.origin);
}

// A stack for signals, while a thread that has none is in a call.
class SignalStack {
 public:
  explicit SignalStack(Crumb* crumb) {
    if (crumb == nullptr || sigaltstack(nullptr, &before_) != 0) return;
    if ((before_.ss_flags & SS_DISABLE) == 0) return;
    stack_t own = {};
    own.ss_sp = crumb->stack;
    own.ss_size = kStackSize;
    changed_ = sigaltstack(&own, nullptr) == 0;
  }
  ~SignalStack() {
    if (changed_) sigaltstack(&before_, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  stack_t before_ = {};
  bool changed_ = false;
};

// While it lives, breadcrumb() tells where this thread is.
class Within {
 public:
  Within(const std::string& head, const std::string& origin)
      : outermost_(own == nullptr), stack_(outermost_ ? (own = take_crumb()) : nullptr) {
    if (own == nullptr) return;
    head_ = own->head;
    origin_ = own->origin;
    lay(*own, head, origin);
  }
  ~Within() {
    if (own == nullptr) return;
    lay(*own, head_, origin_);
    if (!outermost_) return;
    Crumb* const left = own;
    own = nullptr;
    left->taken = false;
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  const bool outermost_;
  const SignalStack stack_;
  std::string head_, origin_;
};

absl::Status with_text(const absl::Status& status, const std::string& text) {
  absl::Status result(status.code(), text);
  status.ForEachPayload(
      [&](absl::string_view key, const absl::Cord& value) { result.SetPayload(key, value); });
  return result;
}

std::string text_of(const absl::Status& status) {
  return printable({status.message().data(), status.message().size()});
}

// What the user is told of an error that came out of a plugin.
absl::Status told(absl::Status status, const std::string& head, const std::string& origin) {
  if (status.ok()) return status;
  if (absl::IsInternal(status) || absl::IsUnknown(status))
    status = as_plugin_fault(std::move(status));
  std::string text = absl::StrCat(head, ": ", text_of(status));
  const bool fault = status.GetPayload(kThrownByPlugin).has_value();
  if (!fault || origin.empty() || status.GetPayload(kOriginSaid)) return with_text(status, text);
  absl::StrAppend(&text, " (", origin, ")");
  status = with_text(status, text);
  status.SetPayload(kOriginSaid, absl::Cord());
  return status;
}

// fork() without an end of the child: there would be two processes at work on one run.
[[noreturn]] void end_copy() {
  std::fprintf(stderr,
               "\nerror: %s: a process that it forked came back from the call, and ends here\n",
               breadcrumb());
  for (;;) syscall(SYS_exit_group, 5);
}

}  // namespace

absl::Status call_plugin(const CallSite& site, const std::function<absl::Status()>& call) {
  if (site.component.empty()) return catching(call, false);
  const std::string head = printable(
      site.phase.empty() ? site.component : absl::StrCat(site.component, ": ", site.phase));
  const std::string origin = printable(site.origin);
  const Within within(head, origin);
  const ProcessState before;
  const pid_t self = getpid();
  absl::Status status = catching(call, true);
  if (getpid() != self) end_copy();
  before.restore();
  return told(std::move(status), head, origin);
}

absl::Status call_part(std::string_view part, const std::function<absl::Status()>& call) {
  const std::string name = printable(part);
  const std::string outer = own == nullptr ? "" : own->head;
  const Within within(outer.empty() ? name : absl::StrCat(outer, ": ", name),
                      own == nullptr ? "" : own->origin);
  const absl::Status status = catching(call, true);
  return status.ok() ? status : with_text(status, absl::StrCat(name, ": ", text_of(status)));
}

absl::Status guarded(const Where& where, const std::function<absl::Status()>& call) {
  return call_plugin({where.component, where.phase, ""}, call);
}

absl::Status as_plugin_fault(absl::Status status) {
  if (!status.ok()) status.SetPayload(kThrownByPlugin, absl::Cord());
  return status;
}

absl::Status plugin_fault(std::string_view text) {
  return as_plugin_fault(absl::InternalError(absl::string_view(text.data(), text.size())));
}

const char* breadcrumb() {
  if (own != nullptr) return own->text;
  for (const Crumb& crumb : crumbs) {
    if (crumb.taken && *crumb.text != '\0') return crumb.text;
  }
  return "";
}

bool in_plugin_call() { return *breadcrumb() != '\0'; }

}  // namespace swage
