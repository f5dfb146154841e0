#include "matcher.h"

#include <algorithm>

namespace swage::text {

int32_t Matcher::child_of(int32_t node, unsigned char byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].child;
  while (child != 0 && nodes_[static_cast<size_t>(child)].byte != byte)
    child = nodes_[static_cast<size_t>(child)].sibling;
  return child;
}

int32_t Matcher::step(int32_t node, unsigned char byte) const {
  for (;; node = nodes_[static_cast<size_t>(node)].shorter) {
    const int32_t child = child_of(node, byte);
    if (child != 0 || node == 0) return child;
  }
}

void Matcher::add(std::string_view pattern, int64_t value) {
  if (pattern.empty()) return;
  int32_t node = 0;
  for (size_t i = pattern.size(); i-- > 0;) {
    const auto byte = static_cast<unsigned char>(pattern[i]);
    int32_t child = child_of(node, byte);
    if (child == 0) {
      child = static_cast<int32_t>(nodes_.size());
      Node made;
      made.byte = byte;
      made.depth = nodes_[static_cast<size_t>(node)].depth + 1;
      made.sibling = nodes_[static_cast<size_t>(node)].child;
      nodes_.push_back(made);
      nodes_[static_cast<size_t>(node)].child = child;
    }
    node = child;
  }
  nodes_[static_cast<size_t>(node)].value = value;
}

void Matcher::finish() {
  std::vector<int32_t> queue = {0};  // nearer nodes first
  for (size_t i = 0; i < queue.size(); ++i) {
    const Node& parent = nodes_[static_cast<size_t>(queue[i])];
    for (int32_t n = parent.child; n != 0; n = nodes_[static_cast<size_t>(n)].sibling) {
      Node& node = nodes_[static_cast<size_t>(n)];
      node.shorter = queue[i] == 0 ? 0 : step(parent.shorter, node.byte);
      node.match = node.value >= 0 ? n : nodes_[static_cast<size_t>(node.shorter)].match;
      queue.push_back(n);
    }
  }
}

std::vector<Matcher::Match> Matcher::find(std::string_view text) const {
  std::vector<Match> matches;
  if (empty()) return matches;
  bool ends[256] = {};  // most bytes of a text end no pattern
  for (int32_t n = nodes_[0].child; n != 0; n = nodes_[static_cast<size_t>(n)].sibling)
    ends[nodes_[static_cast<size_t>(n)].byte] = true;
  int32_t node = 0;
  for (size_t at = text.size(); at-- > 0;) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (node == 0 && !ends[byte]) continue;
    node = step(node, byte);
    const int32_t found = nodes_[static_cast<size_t>(node)].match;
    if (found == 0) continue;
    const Node& match = nodes_[static_cast<size_t>(found)];
    matches.push_back({at, at + static_cast<size_t>(match.depth), match.value});
  }
  std::reverse(matches.begin(), matches.end());
  return matches;
}

}  // namespace swage::text
