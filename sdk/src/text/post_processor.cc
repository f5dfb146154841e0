#include "post_processor.h"

#include "absl/strings/str_cat.h"
#include "component.h"

namespace swage::text {
namespace {

absl::StatusOr<std::vector<int64_t>> special_ids(const Value& node, const std::string& name) {
  std::vector<int64_t> ids;
  const Value& special = node["special_tokens"][name];
  if (special.is_null()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is not in \"special_tokens\""));
  }
  for (const Value& id : required_list(special, "ids")) {
    if (id.integer() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("an id of \"", name, "\" is a ", id.type_name(), ", expected an integer"));
    }
    ids.push_back(*id.integer());
  }
  return ids;
}

absl::StatusOr<PostProcessor> from_template(const Value& node) {
  std::vector<int64_t> before, after;
  bool text_seen = false;
  for (const Value& item : required_list(node, "single")) {
    if (item.has("Sequence")) {
      if (text_seen) return absl::UnimplementedError("\"single\" holds the text twice");
      text_seen = true;
    } else {
      SWAGE_ASSIGN_OR_RETURN(const auto ids,
                             special_ids(node, required_text(item["SpecialToken"], "id")));
      auto& side = text_seen ? after : before;
      side.insert(side.end(), ids.begin(), ids.end());
    }
  }
  if (!text_seen) return absl::InvalidArgumentError("\"single\" does not hold the text");
  return surround(std::move(before), std::move(after));
}

// "cls": ["[CLS]", 101], "sep": ["[SEP]", 102]
absl::StatusOr<PostProcessor> from_cls_and_sep(const Value& node) {
  int64_t ids[2];
  const char* const keys[2] = {"cls", "sep"};
  for (int i = 0; i < 2; ++i) {
    const Value::List& pair = required_list(node, keys[i]);
    if (pair.size() != 2 || pair[1].integer() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", keys[i], "\" is no pair of token and id"));
    }
    ids[i] = *pair[1].integer();
  }
  return surround({ids[0]}, {ids[1]});
}

absl::StatusOr<PostProcessor> sequence(const Value& node) {
  std::vector<PostProcessor> steps;
  for (const Value& item : required_list(node, "processors")) {
    SWAGE_ASSIGN_OR_RETURN(PostProcessor step, make_post_processor(item));
    steps.push_back(std::move(step));
  }
  return PostProcessor([steps](std::vector<int64_t>* ids) {
    for (const PostProcessor& step : steps) step(ids);
  });
}

}  // namespace

PostProcessor surround(std::vector<int64_t> before, std::vector<int64_t> after) {
  return [before = std::move(before), after = std::move(after)](std::vector<int64_t>* ids) {
    ids->insert(ids->begin(), before.begin(), before.end());
    ids->insert(ids->end(), after.begin(), after.end());
  };
}

absl::StatusOr<PostProcessor> make_post_processor(const Value& node) {
  if (node.is_null()) return surround({}, {});
  return named("post_processor", [&]() -> absl::StatusOr<PostProcessor> {
    const std::string& type = required_text(node, "type");
    if (type == "ByteLevel") return surround({}, {});  // it moves offsets only
    if (type == "TemplateProcessing") return named(type, [&] { return from_template(node); });
    if (type == "Sequence") return named(type, [&] { return sequence(node); });
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      return named(type, [&] { return from_cls_and_sep(node); });
    }
    return absl::UnimplementedError(absl::StrCat("\"", type, "\" is not supported"));
  });
}

}  // namespace swage::text
