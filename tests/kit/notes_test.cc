// What exports tell Swage's own reader of each linear.
#include "swage/store/notes.h"

#include <gtest/gtest.h>

namespace swage::store {
namespace {

std::vector<LinearSummary> linears(std::initializer_list<const char*> names) {
  std::vector<LinearSummary> all;
  for (const char* name : names) {
    all.emplace_back();
    all.back().name = name;
  }
  return all;
}

Value::Table of_last_letter(const LinearSummary& linear) {
  return {{"letter", std::string(1, linear.name.back())}};
}

TEST(Notes, NameWhatIsNotCommon) {
  const Value notes = notes_of(linears({"a.x", "b.y", "c.y"}), of_last_letter);
  EXPECT_EQ(to_json(notes, -1), R"({"common":{"letter":"y"},"others":{"a.x":{"letter":"x"}}})");
  const Value config(Value::Table{{kNotesKey, notes}});
  EXPECT_EQ(note_for(config, "a.x"), Value(Value::Table{{"letter", "x"}}));
  EXPECT_EQ(note_for(config, "b.y"), Value(Value::Table{{"letter", "y"}}));
}

TEST(Notes, OfOneKindAreCommonAlone) {
  EXPECT_EQ(to_json(notes_of(linears({"a.x", "b.x"}), of_last_letter), -1),
            R"({"common":{"letter":"x"}})");
}

TEST(Notes, AreNullWhereNoneWereTaken) {
  EXPECT_TRUE(note_for(Value(Value::Table{{"bits", 4}}), "a.x").is_null());
  EXPECT_TRUE(note_for(Value(), "a.x").is_null());
  EXPECT_TRUE(note_for(Value(Value::Table{{kNotesKey, "text"}}), "a.x").is_null());
}

}  // namespace
}  // namespace swage::store
