#include "swage/store/notes.h"

#include <algorithm>
#include <map>

namespace swage::store {

Value notes_of(const std::vector<LinearSummary>& linears,
               const std::function<Value::Table(const LinearSummary&)>& note) {
  std::map<std::string, int64_t> counts;  // by the note as text
  std::map<std::string, Value> notes;
  const auto text_of = [&](const LinearSummary& linear) {
    Value one(note(linear));
    std::string text = to_json(one, -1);
    notes.try_emplace(text, std::move(one));
    return text;
  };
  for (const LinearSummary& linear : linears) ++counts[text_of(linear)];
  std::string common;
  int64_t most = 0;
  for (const auto& [text, count] : counts) {
    if (count > most) common = text;
    most = std::max(most, count);
  }
  Value::Table others;
  for (const LinearSummary& linear : linears) {
    const std::string text = text_of(linear);
    if (text != common) others[linear.name] = notes[text];
  }
  Value::Table all = {{"common", notes[common]}};
  if (!others.empty()) all["others"] = Value(std::move(others));
  return Value(std::move(all));
}

const Value& note_for(const Value& quantization_config, const std::string& linear) {
  const Value& notes = quantization_config[kNotesKey];
  const Value& own = notes["others"][linear];
  return own.is_null() ? notes["common"] : own;
}

}  // namespace swage::store
