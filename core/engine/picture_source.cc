#include "core/engine/picture_source.h"

#include <ATen/ops/cat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "swage/border.h"
#include "swage/image/image.h"
#include "swage/image/processor.h"
#include "swage/status.h"
#include "swage/text/chat_template.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

// One line: its text, with an image token for each picture, and the pictures' files.
struct Document {
  std::string text;
  std::vector<std::string> pictures;
  bool is_chat = false;
};

const std::string* picture_of(const Value& part) {
  for (const char* key : {"image", "path", "url"}) {
    if (part[key].text() != nullptr) return part[key].text();
  }
  return nullptr;
}

// Files of the pictures of a chat, in their order.
std::vector<std::string> pictures_of(const Value& messages) {
  std::vector<std::string> pictures;
  if (messages.list() == nullptr) return pictures;
  for (const Value& message : *messages.list()) {
    if (message["content"].list() == nullptr) continue;
    for (const Value& part : *message["content"].list()) {
      if (part.str("type", "") == "image" && picture_of(part) != nullptr)
        pictures.push_back(*picture_of(part));
    }
  }
  return pictures;
}

class PictureReader {
 public:
  PictureReader(const text::CalibrationRequest& request, const OpenedModel& model)
      : request_(request), model_(model), folder_(fs::path(request.source).parent_path()) {}

  absl::Status prepare() {
    SWAGE_ASSIGN_OR_RETURN(tokenizer_, model_.tokenizer());
    SWAGE_ASSIGN_OR_RETURN(processor_, model_.picture_processor());
    image_token_ = tokenizer_->decode({model_.shape().image_token}, false);
    return absl::OkStatus();
  }

  absl::Status add(const std::string& line) {
    SWAGE_ASSIGN_OR_RETURN(const Value value, parse_json(line, ""));
    SWAGE_ASSIGN_OR_RETURN(Document document, document_of(value));
    SequenceInputs inputs;
    SWAGE_RETURN_IF_ERROR(insert_pictures(document, &inputs));
    SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> ids,
                           tokenizer_->encode(document.text, !document.is_chat));
    if (static_cast<int64_t>(ids.size()) > request_.length) {
      const auto limit = ids.begin() + request_.length;
      const bool whole = std::find(limit, ids.end(), model_.shape().image_token) == ids.end();
      if (!whole) return absl::OkStatus();
      ids.erase(limit, ids.end());
    }
    if (ids.empty()) return absl::OkStatus();
    set_.sequences.push_back(std::move(ids));
    set_.inputs.push_back(std::move(inputs));
    return absl::OkStatus();
  }

  bool is_full() const { return static_cast<int64_t>(set_.sequences.size()) >= request_.samples; }
  TokenSet take() { return std::move(set_); }

 private:
  absl::StatusOr<Document> document_of(const Value& value) {
    Document document;
    if (!value.has("messages")) {
      document.text = value.str("text", "");
      for (const Value& item : value["images"].list() ? *value["images"].list() : Value::List()) {
        if (item.text() != nullptr) document.pictures.push_back(*item.text());
      }
      return document;
    }
    if (!chat_) {
      SWAGE_ASSIGN_OR_RETURN(auto chat, model_.chat_template());
      chat_.emplace(std::move(chat));
    }
    document.is_chat = true;
    document.pictures = pictures_of(value["messages"]);
    SWAGE_ASSIGN_OR_RETURN(document.text, chat_->render(to_json(value["messages"])));
    return document;
  }

  // Puts what stands for a picture in the place of its token.
  absl::Status insert_pictures(Document& document, SequenceInputs* inputs) {
    std::map<std::string, std::vector<at::Tensor>> parts;
    size_t at = 0;
    for (const std::string& name : document.pictures) {
      at = document.text.find(image_token_, at);
      if (at == std::string::npos) break;
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor rgb, image::read_image((folder_ / name).string()));
      SWAGE_ASSIGN_OR_RETURN(const image::Inputs picture, processor_->process(rgb));
      const std::string text = model_.picture_text(picture, image_token_);
      document.text.replace(at, image_token_.size(), text);
      at += text.size();
      for (const auto& [key, tensor] : picture) parts[key].push_back(tensor);
    }
    const bool more =
        document.text.find(image_token_, at == std::string::npos ? 0 : at) != std::string::npos;
    if (at == std::string::npos || more) {
      return absl::InvalidArgumentError(absl::StrCat("holds ", document.pictures.size(),
                                                     " pictures, but ", more ? "more" : "fewer",
                                                     " places \"", image_token_, "\" for them"));
    }
    for (const auto& [key, tensors] : parts) (*inputs)[key] = at::cat(tensors);
    return absl::OkStatus();
  }

  const text::CalibrationRequest& request_;
  const OpenedModel& model_;
  const fs::path folder_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<image::Processor> processor_;
  std::string image_token_;
  std::optional<text::ChatTemplate> chat_;
  TokenSet set_;
};

}  // namespace

absl::StatusOr<bool> holds_pictures(const std::string& file) {
  std::ifstream lines(file);
  if (!lines) return absl::NotFoundError(absl::StrCat("file \"", file, "\" cannot be read"));
  for (std::string line; std::getline(lines, line);) {
    const auto value = parse_json(line, file);
    if (!value.ok()) continue;  // whoever reads the documents names the line
    if (value->has("images") || !pictures_of((*value)["messages"]).empty()) return true;
  }
  return false;
}

absl::StatusOr<TokenSet> draw_pictures(const text::CalibrationRequest& request,
                                       const OpenedModel& model) {
  PictureReader reader(request, model);
  SWAGE_RETURN_IF_ERROR(reader.prepare());
  std::ifstream lines(request.source);
  int64_t number = 0;
  for (std::string line; !reader.is_full() && std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    SWAGE_RETURN_IF_ERROR(annotate(reader.add(line), absl::StrCat(request.source, ":", number)));
  }
  TokenSet set = reader.take();
  if (!set.sequences.empty()) return set;
  return absl::InvalidArgumentError(
      absl::StrCat(request.source, ": no line fits into ", request.length,
                   " tokens with its pictures; give [calibration] a larger length"));
}

}  // namespace swage
