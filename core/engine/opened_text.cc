// How an opened model reads text: from the files beside its weights.
#include "absl/strings/str_cat.h"
#include "core/engine/opened_model.h"
#include "core/load/origins.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<std::unique_ptr<text::Tokenizer>> OpenedModel::tokenizer() const {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint_->side_files());
  const auto content = [&](std::string_view wanted) -> std::string_view {
    for (const auto& [name, text] : files) {
      if (name == wanted) return text;
    }
    return "";
  };
  const std::string_view file = content("tokenizer.json"), model = content("tokenizer.model"),
                         config = content("tokenizer_config.json");
  if (file.empty() && model.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint_->path(),
        ": holds neither tokenizer.json nor tokenizer.model; text needs one (token ids as .json "
        "do not)",
        content("merges.txt").empty() ? ""
                                      : "; make tokenizer.json of vocab.json and merges.txt with "
                                        "AutoTokenizer.from_pretrained(…).save_pretrained(…)"));
  }
  auto made = file.empty() ? text::Tokenizer::create_from_sentencepiece(model, config)
                           : text::Tokenizer::create(file, config);
  if (!made.ok()) return annotate(made.status(), checkpoint_->path());
  return made;
}

absl::StatusOr<text::ChatTemplate> OpenedModel::chat_template() const {
  SWAGE_ASSIGN_OR_RETURN(const auto files, checkpoint_->side_files());
  return text::ChatTemplate::from_files(files, checkpoint_->path());
}

absl::StatusOr<image::Inputs> OpenedModel::prepare(image::Processor& processor,
                                                   const at::Tensor& rgb) const {
  absl::StatusOr<image::Inputs> inputs = absl::InternalError("nothing was made");
  SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(adapter_name_, "prepare a picture"), [&] {
    inputs = processor.process(rgb);
    return inputs.status();
  }));
  return inputs;
}

absl::StatusOr<std::string> OpenedModel::picture_text(const image::Inputs& picture,
                                                      const std::string& token) const {
  std::string text;
  SWAGE_RETURN_IF_ERROR(call_plugin(adapter_site(adapter_name_, "text of a picture"), [&] {
    text = adapter_->picture_text(picture, token);
    return absl::OkStatus();
  }));
  return text;
}

}  // namespace swage
