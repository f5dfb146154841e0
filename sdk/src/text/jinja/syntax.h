#pragma once
#include <memory>
#include <string>
#include <vector>

#include "operators.h"

namespace swage::text::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Argument {
  enum class Kind { kPositional, kNamed, kPositionalList, kNamedDict };  // a, name=a, *a, **a
  Kind kind = Kind::kPositional;
  std::string name;
  ExprPtr value;
};

struct Expr {
  enum class Kind {
    kConstant,
    kName,
    kList,
    kTuple,
    kDict,       // keys and values in turn
    kAttribute,  // operand.text
    kItem,       // operand[index]
    kSlice,      // operand[start:stop:step], absent ones are null
    kCall,       // operand(arguments)
    kFilter,     // operand|text(arguments); no operand in a filter block
    kTest,       // operand is text(arguments)
    kNot,
    kNegate,
    kPositive,
    kAnd,
    kOr,
    kCalculate,
    kConcatenate,
    kCompare,    // a chain
    kCondition,  // value, condition, else (may be null)
  };

  Kind kind = Kind::kConstant;
  Position at;
  std::string text;
  Value constant;
  std::vector<ExprPtr> operands;
  std::vector<Argument> arguments;
  Operator op = Operator::kAdd;
  std::vector<Comparison> comparisons;
  int depth = 1;
};

struct Statement;
using Body = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,
    kOutput,
    kFor,
    kIf,
    kSet,
    kSetBlock,
    kMacro,
    kCallBlock,
    kFilterBlock,
    kWith,
    kGeneration,
    kBreak,
    kContinue,
  };
  struct Branch {
    ExprPtr condition;
    Body body;
  };
  struct Parameter {
    std::string name;
    ExprPtr value;  // null = no default; of kWith: what the name means
  };

  Kind kind = Kind::kText;
  Position at;
  std::string text;   // of kText; name of a macro
  ExprPtr value;      // shown, walked through, assigned, called; filters of a block (may be null)
  ExprPtr target;     // of kFor, kSet, kSetBlock: name, tuple, or attribute of a namespace
  ExprPtr condition;  // of kFor; may be null
  std::vector<Branch> branches;       // of kIf
  std::vector<Parameter> parameters;  // of kMacro, kCallBlock, kWith
  Body body;
  Body otherwise;
  // Which of its special names a macro looks at.
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

}  // namespace swage::text::jinja
