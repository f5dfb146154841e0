#pragma once
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "budget.h"

namespace swage::text::jinja {

// What a template sees.
struct Variables {
  std::map<std::string, std::string> json;  // name -> its value as JSON
  // A JSON object of variables that replace those in `json`, but for the fixed ones; "" = none.
  std::string members;
  std::set<std::string, std::less<>> fixed;
};

// A template as Hugging Face's chat templates are read. Nothing is thrown; errors begin with
// "line:column: " where they have a place. Thread-safe.
class Template {
 public:
  static absl::StatusOr<std::shared_ptr<const Template>> parse(std::string_view text,
                                                               const Limits& limits = {});
  ~Template();

  // `now` is what strftime_now tells; without it, the local time.
  absl::StatusOr<std::string> render(const Variables& variables, std::optional<std::tm> now) const;

 private:
  struct Parsed;
  Template();

  Limits limits_;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace swage::text::jinja
