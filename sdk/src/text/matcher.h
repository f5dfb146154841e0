#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace swage::text {

// Finds many fixed strings in a text. Its time grows with the text alone, neither with the number
// of the strings nor with their lengths (Aho and Corasick 1975).
class Matcher {
 public:
  struct Match {
    size_t begin = 0, end = 0;
    int64_t value = -1;
  };

  Matcher() : nodes_(1) {}
  // Of equal patterns the last one's value counts; empty ones are left out.
  void add(std::string_view pattern, int64_t value);
  // After the last pattern and before the first text.
  void finish();
  // At every place where a pattern begins the longest of them, in the order of places.
  std::vector<Match> find(std::string_view text) const;
  bool empty() const { return nodes_.size() == 1; }

 private:
  // Patterns are laid down from their ends, and texts are read from theirs: what ends at a node
  // then begins at the place that was read last.
  struct Node {
    int32_t child = 0, sibling = 0;  // 0: none
    int32_t shorter = 0;             // the node of the longest proper ending of this path
    int32_t match = 0;               // the nearest node with a value, this one or a shorter one
    int32_t depth = 0;
    unsigned char byte = 0;
    int64_t value = -1;
  };
  int32_t child_of(int32_t node, unsigned char byte) const;
  int32_t step(int32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
};

}  // namespace swage::text
