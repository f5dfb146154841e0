#include "bpe.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "component.h"
#include "unicode.h"

namespace swage::text {
namespace {

constexpr std::string_view kWordMark = "▁";
constexpr size_t kMaxCachedBytes = 256;
constexpr size_t kMaxCachedPieces = 1 << 20;

uint64_t pair_key(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

// Lowest rank first, then leftmost: the order of a max-heap is reversed.
bool comes_later(const Bpe::Workspace::Candidate& a, const Bpe::Workspace::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

void Bpe::encode(std::string_view piece, Workspace* work, std::vector<int64_t>* ids) const {
  if (!separable_) return encode_word(piece, work, ids);
  size_t begin = 0;
  for (size_t at = piece.find(kWordMark); at != std::string_view::npos;
       at = piece.find(kWordMark, at + kWordMark.size())) {
    const bool in_run = at >= kWordMark.size() &&
                        piece.substr(at - kWordMark.size(), kWordMark.size()) == kWordMark;
    if (at == begin || in_run) continue;
    encode_word(piece.substr(begin, at - begin), work, ids);
    begin = at;
  }
  encode_word(piece.substr(begin), work, ids);
}

void Bpe::encode_word(std::string_view word, Workspace* work, std::vector<int64_t>* ids) const {
  if (word.empty()) return;
  const auto seen = work->seen.find(word);
  if (seen != work->seen.end()) {
    const auto [first, count] = seen->second;
    for (size_t i = 0; i < count; ++i) ids->push_back((*ids)[first + i]);
    return;
  }
  const size_t first = ids->size();
  const int64_t whole = ignore_merges_ ? vocabulary_.find(word) : -1;
  if (whole >= 0) {
    ids->push_back(whole);
  } else {
    add_symbols(word, work);
    merge_symbols(work);
    for (const Workspace::Symbol& symbol : work->symbols) {
      if (symbol.alive) ids->push_back(symbol.id);
    }
  }
  if (word.size() < kMaxCachedBytes && work->keys.size() < kMaxCachedPieces) {
    work->keys.emplace_back(word);
    work->seen.emplace(work->keys.back(), std::make_pair(first, ids->size() - first));
  }
}

bool Bpe::add_bytes(std::string_view character, Workspace* work) const {
  if (!byte_fallback_) return false;
  for (const char c : character) {
    if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
  }
  for (const char c : character) {
    work->symbols.push_back({byte_ids_[static_cast<unsigned char>(c)], -1, -1, true});
  }
  return true;
}

void Bpe::add_symbols(std::string_view word, Workspace* work) const {
  work->symbols.clear();
  std::string affixed;
  bool pending = false;  // an unknown that may still grow
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    next_char(word, &at);
    std::string_view character = word.substr(begin, at - begin);
    if ((begin > 0 && !prefix_.empty()) || (at == word.size() && !suffix_.empty())) {
      affixed = absl::StrCat(begin > 0 ? prefix_ : "", std::string(character),
                             at == word.size() ? suffix_ : "");
      character = affixed;
    }
    const int64_t id = vocabulary_.find(character);
    if (id >= 0) {
      if (pending) work->symbols.push_back({unknown_, -1, -1, true});
      pending = false;
      work->symbols.push_back({id, -1, -1, true});
    } else if (!add_bytes(character, work) &&
               unknown_ >= 0) {  // without an unknown token it is dropped
      if (pending && !fuse_unknown_) work->symbols.push_back({unknown_, -1, -1, true});
      pending = true;
    }
  }
  if (pending) work->symbols.push_back({unknown_, -1, -1, true});
  const int64_t count = static_cast<int64_t>(work->symbols.size());
  for (int64_t i = 0; i < count; ++i) {
    work->symbols[i].previous = i - 1;
    work->symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
}

void Bpe::offer(int64_t left, int64_t right, Workspace* work) const {
  const auto it = merges_.find(pair_key(work->symbols[left].id, work->symbols[right].id));
  if (it == merges_.end()) return;
  work->heap.push_back({it->second.rank, left, it->second.id});
  std::push_heap(work->heap.begin(), work->heap.end(), comes_later);
}

void Bpe::merge_symbols(Workspace* work) const {
  auto& symbols = work->symbols;
  work->heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) offer(i, i + 1, work);
  while (!work->heap.empty()) {
    std::pop_heap(work->heap.begin(), work->heap.end(), comes_later);
    const Workspace::Candidate top = work->heap.back();
    work->heap.pop_back();
    Workspace::Symbol& left = symbols[top.position];
    if (!left.alive || left.next < 0) continue;
    Workspace::Symbol& right = symbols[left.next];
    // The pair may have changed since it was offered.
    const auto it = merges_.find(pair_key(left.id, right.id));
    if (it == merges_.end() || it->second.id != top.id) continue;
    left.id = top.id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) offer(left.previous, top.position, work);
    if (left.next >= 0) offer(top.position, left.next, work);
  }
}

}  // namespace swage::text
