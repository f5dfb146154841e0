#include "core/config/convert_recipe.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

std::string quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string path_of(const std::string& path) {
  return quoted(fs::absolute(path).lexically_normal().string());
}

std::string scheme_of(const std::string& text) {
  if (!absl::StrContains(text, '=')) return absl::StrCat("{ format = ", quoted(text), " }");
  absl::string_view inside = absl::StripAsciiWhitespace(text);
  if (absl::ConsumePrefix(&inside, "{")) absl::ConsumeSuffix(&inside, "}");
  return absl::StrCat("{ ", std::string(inside), " }");
}

std::string perplexity_on(const std::string& text) {
  return absl::StrCat("[[evaluate]]\nuse = \"perplexity\"\nsource = ", path_of(text), "\n");
}

}  // namespace

std::string evaluation_recipe(const std::string& checkpoint, const std::string& text) {
  return absl::StrCat("[model]\npath = ", path_of(checkpoint), "\n", perplexity_on(text));
}

std::string convert_recipe(const ConvertRequest& request) {
  std::string text =
      absl::StrCat("[model]\npath = ", path_of(request.checkpoint), "\nstart = \"decoded\"\n");
  if (!request.adapter.empty()) absl::StrAppend(&text, "adapter = ", quoted(request.adapter), "\n");
  absl::StrAppend(&text, "[run]\nwork = ", path_of(request.work), "\n");
  if (!request.requantize.empty())
    absl::StrAppend(&text, "[[step]]\nuse = \"rtn\"\nweight = ", scheme_of(request.requantize),
                    "\n");
  if (!request.text.empty()) text += perplexity_on(request.text);
  absl::StrAppend(&text, "[[export]]\nuse = ", quoted(request.exporter),
                  "\npath = ", path_of(request.out), "\n");
  return text;
}

std::string name_of_checkpoint(const std::string& checkpoint) {
  fs::path path = fs::path(checkpoint).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return (path.extension() == ".gguf" ? path.stem() : path.filename()).string();
}

}  // namespace swage
