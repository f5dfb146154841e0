#include "core/engine/picture_source.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

// Only files are read: nothing is fetched, and a picture within the data is none.
absl::Status check_picture_name(const std::string& name) {
  const bool is_address = absl::StrContains(name.substr(0, 12), "://");
  const bool is_data = absl::StartsWith(name, "data:");
  if (!is_address && !is_data) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the picture \"", text::shortened(name), "\" is ",
      is_data ? "data within the line; write it into a file" : "an address; fetch it into a file",
      " and name that (JPEG, PNG or WebP)"));
}

class PictureReader {
 public:
  PictureReader(const text::CalibrationRequest& request, const OpenedModel& model)
      : request_(request), model_(model), folder_(fs::path(request.source).parent_path()) {}

  int64_t left_out() const { return left_out_; }  // lines whose pictures do not fit

  absl::Status prepare() {
    SWAGE_ASSIGN_OR_RETURN(tokenizer_, model_.tokenizer());
    SWAGE_ASSIGN_OR_RETURN(processor_, model_.picture_processor());
    image_token_ = tokenizer_->decode({model_.shape().image_token}, false);
    if (!image_token_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        model_.checkpoint().path(), ": pictures stand where token ", model_.shape().image_token,
        " is, which the tokenizer lacks; does it belong to this model?"));
  }

  absl::Status add(const std::string& line) {
    SWAGE_ASSIGN_OR_RETURN(const text::DataLine read, text::read_data_line(line));
    SWAGE_ASSIGN_OR_RETURN(Document document, document_of(read));
    SequenceInputs inputs;
    SWAGE_RETURN_IF_ERROR(insert_pictures(document, &inputs));
    SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> ids,
                           tokenizer_->encode(document.text, !document.is_chat));
    if (static_cast<int64_t>(ids.size()) > request_.length) {
      const auto limit = ids.begin() + request_.length;
      const bool whole = std::find(limit, ids.end(), model_.shape().image_token) == ids.end();
      if (!whole) {
        ++left_out_;
        return absl::OkStatus();
      }
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
  absl::StatusOr<Document> document_of(const text::DataLine& line) {
    if (!line.is_chat) return Document{line.text, line.pictures, false};
    if (!chat_) {
      SWAGE_ASSIGN_OR_RETURN(auto chat, model_.chat_template());
      chat_.emplace(std::move(chat));
    }
    text::ChatOptions options;
    options.tools = line.tools;
    SWAGE_ASSIGN_OR_RETURN(std::string rendered, chat_->render(line.messages, options));
    return Document{std::move(rendered), line.pictures, true};
  }

  // Puts what stands for a picture in the place of its token.
  absl::Status insert_pictures(Document& document, SequenceInputs* inputs) {
    std::map<std::string, std::vector<at::Tensor>> parts;
    size_t at = 0;
    for (const std::string& name : document.pictures) {
      at = document.text.find(image_token_, at);
      if (at == std::string::npos) break;
      SWAGE_RETURN_IF_ERROR(check_picture_name(name));
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor rgb, image::read_image((folder_ / name).string()));
      SWAGE_ASSIGN_OR_RETURN(const image::Inputs picture, model_.prepare(*processor_, rgb));
      SWAGE_ASSIGN_OR_RETURN(const std::string text, model_.picture_text(picture, image_token_));
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
  int64_t left_out_ = 0;
};

// Calls `use` with every line that is not blank, while it wants more.
template <class Use>
absl::Status for_each_line(const text::DataFile& file, const Use& use) {
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(file.content, '\n')) {
    ++number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    absl::StatusOr<bool> more = use(std::string(line));
    if (!more.ok()) return annotate(more.status(), absl::StrCat(file.path, ":", number));
    if (!*more) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> holds_pictures(const text::DataFile& file) {
  bool found = false;
  SWAGE_RETURN_IF_ERROR(for_each_line(file, [&](const std::string& line) -> absl::StatusOr<bool> {
    SWAGE_ASSIGN_OR_RETURN(const text::DataLine read, text::read_data_line(line));
    found = !read.pictures.empty() || (!read.is_chat && parse_json(line, "")->has("images"));
    return !found;
  }));
  return found;
}

absl::StatusOr<TokenSet> draw_pictures(const text::DataFile& file,
                                       const text::CalibrationRequest& request,
                                       const OpenedModel& model,
                                       std::vector<std::string>* remarks) {
  PictureReader reader(request, model);
  SWAGE_RETURN_IF_ERROR(reader.prepare());
  SWAGE_RETURN_IF_ERROR(for_each_line(file, [&](const std::string& line) -> absl::StatusOr<bool> {
    SWAGE_RETURN_IF_ERROR(reader.add(line));
    return !reader.is_full();
  }));
  TokenSet set = reader.take();
  if (set.sequences.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.source, ": no line fits into ", request.length,
                     " tokens with its pictures; give [calibration] a larger length"));
  }
  if (reader.left_out() > 0) {
    remarks->push_back(absl::StrCat(request.source, ": ", reader.left_out(),
                                    " lines are left out, since ", request.length,
                                    " tokens would cut their pictures"));
  }
  return set;
}

}  // namespace swage
