#pragma once
#include <string>
#include <vector>

#include "swage/export.h"

namespace swage {

// Says what a user should know of what a component was given, though it is no mistake: an exporter,
// in check(), which readers do not compute the planned schemes as they were measured. `check` and
// `run` show it, result.json keeps it. Said where nobody listens, it is dropped.
SWAGE_API void remark(std::string text);

// What is said on this thread while the log lives. The innermost log counts.
class SWAGE_API RemarkLog {
 public:
  RemarkLog();
  ~RemarkLog();
  RemarkLog(const RemarkLog&) = delete;
  RemarkLog& operator=(const RemarkLog&) = delete;

  const std::vector<std::string>& texts() const { return texts_; }

 private:
  friend void remark(std::string text);
  std::vector<std::string> texts_;
  RemarkLog* const outer_;
};

}  // namespace swage
