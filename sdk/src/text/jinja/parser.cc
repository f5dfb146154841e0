#include "parser.h"

#include <algorithm>

namespace swage::text::jinja {

bool Tokens::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  advance();
  return true;
}

bool Tokens::skip_operator(std::string_view name) {
  if (!current().is_operator(name)) return false;
  advance();
  return true;
}

void Tokens::expect_operator(std::string_view name) {
  if (!skip_operator(name)) unexpected("\"" + std::string(name) + "\"");
}

void Tokens::expect(Token::Type type, const char* what) {
  if (!current().is(type)) unexpected(what);
  advance();
}

std::string Tokens::expect_name(const char* what) {
  if (!current().is(Token::Type::kName)) unexpected(what);
  std::string name = current().text;
  advance();
  return name;
}

void Tokens::unexpected(std::string_view expected) const {
  fail_at(current().at, "unexpected ", current().describe(), ", expected ", expected);
}

Tokens::Level::Level(Tokens* tokens) : tokens_(tokens) {
  if (tokens_->depth_ >= kMaxSyntaxDepth) {
    fail_at(tokens_->current().at, "nested deeper than ", kMaxSyntaxDepth, " levels");
  }
  ++tokens_->depth_;
}

namespace {

using Tag = Statement::Kind;

class StatementParser {
 public:
  explicit StatementParser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(&tokens_) {}

  Body run() { return body({}); }

 private:
  using Ends = std::initializer_list<std::string_view>;

  // Up to a tag named in `ends`, whose name is current then; without any, up to the end.
  Body body(Ends ends) {
    const Tokens::Level level(&tokens_);
    Body statements;
    while (!tokens_.current().is(Token::Type::kEnd)) {
      const Token& token = tokens_.current();
      if (token.is(Token::Type::kData)) {
        statements.push_back(start(Tag::kText, token.at));
        statements.back().text = token.text;
        tokens_.advance();
      } else if (token.is(Token::Type::kVariableBegin)) {
        statements.push_back(start(Tag::kOutput, token.at));
        tokens_.advance();
        statements.back().value = expressions_.tuple();
        tokens_.expect(Token::Type::kVariableEnd, "\"}}\"");
      } else {
        tokens_.expect(Token::Type::kBlockBegin, "text or a tag");
        for (const std::string_view end : ends) {
          if (tokens_.current().is_name(end)) return statements;
        }
        statements.push_back(statement());
        tokens_.expect(Token::Type::kBlockEnd, "\"%}\"");
      }
    }
    if (ends.size() > 0) {
      tokens_.unexpected("\"{% " + std::string(*(ends.end() - 1)) + " %}\"");
    }
    return statements;
  }

  static Statement start(Tag kind, Position at) {
    Statement statement;
    statement.kind = kind;
    statement.at = at;
    return statement;
  }

  void end_tag() { tokens_.expect(Token::Type::kBlockEnd, "\"%}\""); }

  // What lies between this tag and the one named `end`, which is read, too.
  Body block(std::string_view end) {
    end_tag();
    Body statements = body({end});
    tokens_.advance();
    return statements;
  }

  Statement statement() {
    const Token tag = tokens_.current();
    tokens_.expect_name("the name of a tag");
    if (tag.text == "for") return for_loop(tag.at);
    if (tag.text == "if") return if_chain(tag.at);
    if (tag.text == "set") return assignment(tag.at);
    if (tag.text == "macro") return macro(tag.at);
    if (tag.text == "call") return call_block(tag.at);
    if (tag.text == "with") return with_block(tag.at);
    if (tag.text == "filter") {
      Statement filter = start(Tag::kFilterBlock, tag.at);
      filter.value = expressions_.filters(true);
      filter.body = block("endfilter");
      return filter;
    }
    if (tag.text == "generation") {
      Statement generation = start(Tag::kGeneration, tag.at);
      const LoopDepth outside(this, 0);
      generation.body = block("endgeneration");
      return generation;
    }
    if (tag.text == "break" || tag.text == "continue") {
      if (loops_ == 0) fail_at(tag.at, "\"", tag.text, "\" outside of a loop");
      return start(tag.text == "break" ? Tag::kBreak : Tag::kContinue, tag.at);
    }
    fail_at(tag.at, "unexpected tag \"", tag.text, "\"",
            tag.text.rfind("end", 0) == 0 ? " without its beginning" : "");
  }

  // How many loops "break" can leave, while it lives.
  class LoopDepth {
   public:
    LoopDepth(StatementParser* parser, int loops) : parser_(parser), before_(parser->loops_) {
      parser->loops_ = loops;
    }
    ~LoopDepth() { parser_->loops_ = before_; }
    LoopDepth(const LoopDepth&) = delete;
    LoopDepth& operator=(const LoopDepth&) = delete;

   private:
    StatementParser* parser_;
    int before_;
  };

  Statement for_loop(Position at) {
    Statement loop = start(Tag::kFor, at);
    loop.target = expressions_.target(false);
    if (!tokens_.skip_name("in")) tokens_.unexpected("\"in\"");
    if (loop.target->text == "loop") fail_at(loop.target->at, "\"loop\" names the loop itself");
    loop.value = expressions_.tuple(false, "recursive");
    if (tokens_.skip_name("if")) loop.condition = expressions_.expression();
    if (tokens_.current().is_name("recursive")) {
      fail_at(tokens_.current().at, "recursive loops are not supported; a macro can call itself");
    }
    end_tag();
    {
      const LoopDepth inside(this, loops_ + 1);
      loop.body = body({"else", "endfor"});
    }
    if (tokens_.skip_name("else")) {
      loop.otherwise = block("endfor");
    } else {
      tokens_.advance();
    }
    return loop;
  }

  Statement if_chain(Position at) {
    Statement chain = start(Tag::kIf, at);
    while (true) {
      Statement::Branch branch;
      branch.condition = expressions_.tuple(false);
      end_tag();
      branch.body = body({"elif", "else", "endif"});
      chain.branches.push_back(std::move(branch));
      if (tokens_.skip_name("elif")) continue;
      if (tokens_.skip_name("else")) {
        chain.otherwise = block("endif");
      } else {
        tokens_.advance();
      }
      return chain;
    }
  }

  Statement assignment(Position at) {
    Statement set = start(Tag::kSet, at);
    set.target = expressions_.target(true);
    if (tokens_.skip_operator("=")) {
      set.value = expressions_.tuple();
      return set;
    }
    set.kind = Tag::kSetBlock;
    set.value = expressions_.filters(false);
    set.body = block("endset");
    return set;
  }

  void parameters(Statement* macro) {
    tokens_.expect_operator("(");
    while (!tokens_.current().is_operator(")")) {
      Statement::Parameter parameter;
      const Position at = tokens_.current().at;
      parameter.name = tokens_.expect_name("the name of a parameter");
      if (tokens_.skip_operator("=")) {
        parameter.value = expressions_.expression();
      } else if (!macro->parameters.empty() && macro->parameters.back().value != nullptr) {
        fail_at(at, "a parameter without default follows one with a default");
      }
      macro->parameters.push_back(std::move(parameter));
      if (!tokens_.skip_operator(",")) break;
    }
    tokens_.expect_operator(")");
  }

  void macro_body(Statement* macro, std::string_view end) {
    const ExpressionParser::Uses outer = expressions_.uses;
    expressions_.uses = {};
    const LoopDepth outside(this, 0);
    macro->body = block(end);
    const ExpressionParser::Uses uses = expressions_.uses;
    macro->uses_varargs = uses.varargs;
    macro->uses_kwargs = uses.kwargs;
    macro->uses_caller = uses.caller;
    expressions_.uses = {outer.varargs || uses.varargs, outer.kwargs || uses.kwargs,
                         outer.caller || uses.caller};
  }

  Statement macro(Position at) {
    Statement macro = start(Tag::kMacro, at);
    macro.text = tokens_.expect_name("the name of a macro");
    parameters(&macro);
    macro_body(&macro, "endmacro");
    return macro;
  }

  Statement call_block(Position at) {
    Statement call = start(Tag::kCallBlock, at);
    call.text = "caller";
    if (tokens_.current().is_operator("(")) parameters(&call);
    call.value = expressions_.call_of_macro();
    macro_body(&call, "endcall");
    return call;
  }

  Statement with_block(Position at) {
    Statement with = start(Tag::kWith, at);
    while (!tokens_.current().is(Token::Type::kBlockEnd)) {
      Statement::Parameter variable;
      variable.name = tokens_.expect_name("the name of a variable");
      tokens_.expect_operator("=");
      variable.value = expressions_.expression();
      with.parameters.push_back(std::move(variable));
      if (!tokens_.skip_operator(",")) break;
    }
    with.body = block("endwith");
    return with;
  }

  Tokens tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view text) { return StatementParser(lex(text)).run(); }

}  // namespace swage::text::jinja
