#include <algorithm>

#include "arguments.h"
#include "interpreter.h"
#include "repr.h"

namespace swage::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // Jinja's sandbox has the same limit
constexpr size_t kMaxTimeFormat = 1000;

Value range(Interpreter&, const Call& call) {
  const Items arguments = bind("range", call, {{"start"}, {"stop", Value()}, {"step", Value()}});
  auto made = std::make_shared<Range>();
  made->stop = integer_argument("range()", arguments[0]);
  if (!arguments[1].is(Kind::kNone)) {
    made->start = made->stop;
    made->stop = integer_argument("range()", arguments[1]);
  }
  if (!arguments[2].is(Kind::kNone)) made->step = integer_argument("range()", arguments[2]);
  if (made->step == 0) fail("range() arg 3 must not be zero");
  // In floating point the distance cannot overflow.
  const double size = (static_cast<double>(made->stop) - static_cast<double>(made->start)) /
                      static_cast<double>(made->step);
  if (size > kMaxRange) fail("range() of more than ", kMaxRange, " numbers");
  if (size <= 0) made->stop = made->start;
  return Value(std::move(made));
}

// Members of an optional dict or list of pairs, then those with names.
void for_each_member(Interpreter& interpreter, const Call& call,
                     const std::function<void(const Value&, const Value&)>& take) {
  if (call.positional.size() > 1) fail("at most 1 argument without a name is expected");
  for (const Value& given : call.positional) {
    const Items pairs = given.is(Kind::kDict) ? pairs_of(interpreter.budget(), given.dict())
                                              : items_of(interpreter.budget(), given);
    for (const Value& pair : pairs) {
      const Items parts = items_of(interpreter.budget(), pair);
      if (parts.size() != 2)
        fail("a pair of key and value is expected, found ", parts.size(), " values");
      take(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : call.named) {
    take(make_text(interpreter.budget(), name), value);
  }
}

Value dict(Interpreter& interpreter, const Call& call) {
  auto made = std::make_shared<Dict>();
  for_each_member(interpreter, call, [&](const Value& key, const Value& value) {
    made->set(interpreter.budget(), key, value);
  });
  return Value(std::move(made));
}

Value make_namespace(Interpreter& interpreter, const Call& call) {
  auto made = interpreter.make_namespace();
  for_each_member(interpreter, call, [&](const Value& key, const Value& value) {
    made->members[text_argument("the name of a member", key)] = value;
  });
  return Value(std::move(made));
}

Value raise_exception(Interpreter& interpreter, const Call& call) {
  const Items arguments = bind("raise_exception", call, {{"message"}});
  fail("the template says: ", to_text(interpreter.budget(), arguments[0]).text());
}

Value strftime_now(Interpreter& interpreter, const Call& call) {
  const Items arguments = bind("strftime_now", call, {{"format"}});
  const std::string& given = text_argument("format", arguments[0]);
  if (given.size() > kMaxTimeFormat || given.find('\0') != std::string::npos) {
    fail("a format of more than ", kMaxTimeFormat, " bytes or with a null character");
  }
  // As in Python, a time without zone has no %z and no %Z; %f are its microseconds. What stands in
  // front tells an empty text from one that does not fit.
  std::string format = "=";
  for (size_t i = 0; i < given.size(); ++i) {
    const char kind = given[i] == '%' && i + 1 < given.size() ? given[i + 1] : '\0';
    if (kind == 'f') {
      format += "000000";
    } else if (kind == '%') {
      format += "%%";
    } else if (kind != 'z' && kind != 'Z') {
      format += given[i];
      continue;
    }
    ++i;
  }
  const std::tm time = interpreter.now();
  std::string text(16 * kMaxTimeFormat, '\0');
  const size_t size = std::strftime(text.data(), text.size(), format.c_str(), &time);
  if (size == 0) fail("the time takes more than ", text.size(), " bytes");
  return make_text(interpreter.budget(), text.substr(1, size - 1));
}

}  // namespace

void define_functions(Interpreter* interpreter) {
  const auto define = [&](const char* name, Value (*run)(Interpreter&, const Call&)) {
    auto function = std::make_shared<Function>();
    function->name = name;
    function->run = run;
    interpreter->define(name, Value(std::move(function)));
  };
  define("range", range);
  define("dict", dict);
  define("namespace", make_namespace);
  define("raise_exception", raise_exception);
  define("strftime_now", strftime_now);
}

}  // namespace swage::text::jinja
