#include "swage/remark.h"

#include <utility>

namespace swage {
namespace {

thread_local RemarkLog* listener = nullptr;

}  // namespace

void remark(std::string text) {
  if (listener != nullptr) listener->texts_.push_back(std::move(text));
}

RemarkLog::RemarkLog() : outer_(listener) { listener = this; }

RemarkLog::~RemarkLog() { listener = outer_; }

}  // namespace swage
