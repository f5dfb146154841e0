#include "template.h"

#include <new>

#include "../unicode.h"
#include "interpreter.h"
#include "json.h"
#include "parser.h"

namespace swage::text::jinja {
namespace {

template <class Make>
auto guarded(Make make) -> absl::StatusOr<decltype(make())> {
  try {
    return make();
  } catch (const Error& error) {
    return error.status();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("there is not enough memory");
  }
}

}  // namespace

struct Template::Parsed {
  Body body;
};

Template::Template() : parsed_(std::make_unique<Parsed>()) {}
Template::~Template() = default;

absl::StatusOr<std::shared_ptr<const Template>> Template::parse(std::string_view text,
                                                                const Limits& limits) {
  return guarded([&] {
    if (text.size() > limits.template_bytes) {
      fail("the template has ", text.size(), " bytes; the limit is ", limits.template_bytes);
    }
    if (const size_t bad = find_bad_utf8(text); bad != kValidUtf8) {
      fail("byte ", bad, " of the template is not valid UTF-8");
    }
    std::shared_ptr<Template> made(new Template);
    made->limits_ = limits;
    made->parsed_->body = jinja::parse(text);
    return std::shared_ptr<const Template>(std::move(made));
  });
}

absl::StatusOr<std::string> Template::render(const Variables& variables,
                                             std::optional<std::tm> now) const {
  return guarded([&] {
    Interpreter interpreter(limits_, now);
    for (const auto& [name, json] : variables.json) {
      interpreter.define(name, read_json(interpreter.budget(), json, name));
    }
    if (!variables.members.empty()) {
      const Value members = read_json(interpreter.budget(), variables.members, "variables");
      if (!members.is(Kind::kDict))
        fail("variables: found a ", members.type_name(), ", expected an object");
      for (const auto& [name, value] : members.dict().entries()) {
        if (variables.fixed.count(name.text()) > 0) {
          fail("variables: \"", name.text(), "\" has an option of its own");
        }
        interpreter.define(name.text(), value);
      }
    }
    return interpreter.run(parsed_->body);
  });
}

}  // namespace swage::text::jinja
